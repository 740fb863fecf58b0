"""Several potentials that learned the same data as one: their mean, and error bars from how far they differ."""

from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from safetensors.numpy import load, load_file

from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.models.by_name import model_path
from equitensor.models.error_bars import digest


class Committee:
    """An engine whose results are the means of those of its members (Peterson, Christensen and Khorshidi 2017).

    energy_std is a times the standard deviation of the members' energies, forces_std_i b_z times that of a component of
    their forces on atom i, novelty that of the first member. The factors, by split conformal prediction as those of
    other error bars, are kept in the file of the first member, for exactly these members; descriptors, coordination
    and model are the first's.

    Args: engines, two or more; digests of their weights; their names. Raises InputError where their elements or
    cutoffs differ.
    """

    def __init__(self, engines: list, digests: list[str], names: list[str]):
        if len(engines) < 2 or len(set(digests)) < len(digests):
            raise InputError("a committee needs two models or more, all different")
        for name, each in zip(names, engines, strict=True):
            _check_alike(names[0], engines[0], name, each)
        self.engines, self.digests = engines, digests
        for each in engines[1:]:
            each.error_bars = None
        self.scale_by(1.0, np.ones(len(self.elements)))

    def __getattr__(self, name):
        if name in ("engines", "digests"):  # not yet there in a copy
            raise AttributeError(name)
        return getattr(self.engines[0], name)

    @property
    def error_bars(self):
        """Those of the first member, which give novelty; without them there are no error bars."""
        return self.engines[0].error_bars

    @error_bars.setter
    def error_bars(self, bars):
        self.engines[0].error_bars = bars

    def scale_by(self, energy: float, forces: np.ndarray) -> None:
        """The factors of standard deviations from now on, those of forces (k,) by element."""
        self.energy_scale, self.forces_scale = energy, forces

    def calibrated(self) -> "Committee":
        """With the factors in the first member's file. Raises InputError where it has none for this committee."""
        entry = {} if self.error_bars is None else self.error_bars.about.get("committee", {})
        if set(entry.get("models", ())) != set(self.digests):
            raise InputError(
                "the first model of the committee has no factors for these models: "
                "equitensor uncertainty FIRST TRAIN --calibrate VALID --committee OTHER ..."
            )
        self.scale_by(entry["energy"], np.array(entry["forces"]))
        return self

    def compute(self, structure: Structure, stress: bool, features: bool = False) -> dict:
        """As the members'; features are the first's."""
        results = [self.engines[0].compute(structure, stress, features)]
        results += [each.compute(structure, stress) for each in self.engines[1:]]
        names = ("energy", "energies", "forces", *(["stress"] if stress else []))
        together = {name: np.stack([each[name] for each in results]) for name in names}
        out = results[0] | {name: values.mean(axis=0) for name, values in together.items()}
        out["energy"] = float(out["energy"])
        if self.error_bars is not None:
            spread = np.sqrt(together["forces"].var(axis=0, ddof=1).mean(axis=1))
            out["energy_std"] = float(self.energy_scale * together["energy"].std(ddof=1))
            out["forces_std"] = self.forces_scale[np.searchsorted(self.elements, structure.z)] * spread
        return out


def _check_alike(first: str, one, name: str, other) -> None:
    """Raise InputError where another member cannot be of the same data and settings as the first."""
    for what, values in (
        ("elements", [" ".join(chemical_symbols[z] for z in each.elements) for each in (one, other)]),
        ("cutoff", [f"{each.cutoff:g} Angstrom" for each in (one, other)]),
    ):
        if values[0] != values[1]:
            raise InputError(
                f"{name}: its {what} {values[1]} are not those of {first}, {values[0]}: "
                "take models that differ in the seed only"
            )


def digest_of(model) -> str:
    """Of the weights of a model file or a Potential."""
    if isinstance(model, str | Path):
        return digest(load_file(model_path(model)))
    from equitensor.models import to_bytes

    return digest(load(to_bytes(model)))
