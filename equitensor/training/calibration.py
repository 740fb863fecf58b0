"""How error bars compare with errors: split conformal factors, coverage, sharpness, rank correlation."""

import math

import numpy as np
from scipy.stats import spearmanr

from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph.labels import ENERGY, FORCES
from equitensor.models.error_bars import NORMAL_90
from equitensor.training.compared import counted

COVERAGE = 0.9
_ROUNDING = 1e-9  # of products


class Calibration:
    """Errors beside the standard deviations predicted for them; of atoms marked fixed no force counts.

    energies (b, 2) and forces (components, 2): |error| and standard deviation, in eV and eV/Angstrom; elements
    (components,); force_errors (atoms, 2): length of the error of the force, and standard deviation; novelty (n,);
    predicted, the error bars of each structure by name.
    """

    def __init__(self) -> None:
        self.count = self.structures = 0
        self.predicted: list[dict] = []
        self._energies, self._forces, self._elements = [], [], []

    def add(self, label: Structure, out: dict) -> None:
        """A structure with its labels, and what an engine gives for it."""
        self.count += 1
        self.predicted.append({name: out[name] for name in ("energy_std", "forces_std", "novelty")})
        if ENERGY.is_here(label):
            self._energies.append((abs(out["energy"] - label.energy), out["energy_std"]))
            self.structures += 1
        if label.forces is not None and FORCES.is_here(label):
            known = counted(FORCES, label, label.forces)
            errors = np.abs(out["forces"] - label.forces)[known]
            self._forces.append(np.column_stack([errors, out["forces_std"][known]]))
            self._elements.append(label.z[known])

    @property
    def energies(self) -> np.ndarray:
        return np.array(self._energies).reshape(-1, 2)

    @property
    def atoms(self) -> np.ndarray:
        """(atoms, 4): |error| of the components of the force, standard deviation."""
        return np.concatenate([np.zeros((0, 4)), *self._forces])

    @property
    def forces(self) -> np.ndarray:
        rows = self.atoms
        return np.column_stack([rows[:, :3].ravel(), np.repeat(rows[:, 3], 3)])

    @property
    def elements(self) -> np.ndarray:
        return np.repeat(np.concatenate([np.zeros(0, np.int64), *self._elements]), 3)

    @property
    def force_errors(self) -> np.ndarray:
        rows = self.atoms
        return np.column_stack([np.linalg.norm(rows[:, :3], axis=1), rows[:, 3]])

    @property
    def novelty(self) -> np.ndarray:
        return np.concatenate([np.zeros(0), *(each["novelty"] for each in self.predicted)])

    def metrics(self) -> dict:
        """Of energies and forces: coverage_90, sharpness (mean standard deviation), spearman (rank correlation of
        standard deviation and |error|, of a force by atom); of novelty the share of atoms above 1 and the largest."""
        figures = {}
        for name, pairs, ranked in (
            ("energy", self.energies, self.energies),
            ("forces", self.forces, self.force_errors),
        ):
            if len(pairs):
                figures[name] = {
                    "coverage_90": float(np.mean(pairs[:, 0] <= NORMAL_90 * (1 + _ROUNDING) * pairs[:, 1])),
                    "sharpness": float(np.mean(pairs[:, 1])),
                    "spearman": _spearman(ranked),
                }
        if len(self.novelty):
            figures["novelty"] = {"above_1": float(np.mean(self.novelty > 1)), "largest": float(self.novelty.max())}
        return figures

    def lines(self) -> list[str]:
        """The metrics in words."""
        metrics, lines = self.metrics(), []
        for name, unit in (("energy", "meV"), ("forces", "meV/Angstrom")):
            if name in metrics:
                each = metrics[name]
                correlation = "" if each["spearman"] is None else f", rank correlation {each['spearman']:.2f}"
                lines.append(
                    f"error bars of {name}: the 90 % intervals hold {100 * each['coverage_90']:.1f} %, mean standard "
                    f"deviation {1000 * each['sharpness']:.2f} {unit}{correlation} with the error"
                )
        if "novelty" in metrics:
            each = metrics["novelty"]
            lines.append(
                f"novelty: {100 * each['above_1']:.1f} % of the atoms above 1, the largest {each['largest']:.2f}"
            )
        return lines


def conformal_factor(pairs: np.ndarray, coverage: float = COVERAGE, what: str = "errors") -> float:
    """By what the standard deviations in pairs (n, 2) of |error| and std are multiplied, so that +-1.645 of them hold
    `coverage` of the errors of further data of the same kind: the ceil((n + 1) coverage)-th smallest ratio.

    Raises InputError where n is too small for that.
    """
    rank = math.ceil((len(pairs) + 1) * coverage - _ROUNDING)
    if rank > len(pairs):
        least = math.ceil(coverage / (1 - coverage) - _ROUNDING)
        raise InputError(f"{what}: {len(pairs)} are too few to calibrate error bars with, at least {least} are needed")
    ratios = pairs[:, 0] / np.maximum(pairs[:, 1], np.finfo(np.float64).tiny)
    return float(np.sort(ratios)[rank - 1]) / NORMAL_90


def _spearman(pairs: np.ndarray) -> float | None:
    """None where one of the two does not vary."""
    if len(pairs) < 3 or (np.ptp(pairs, axis=0) == 0).any():
        return None
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)
