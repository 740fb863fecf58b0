"""Labels so far from the others of a data set that they are errors rather than physics, with the frames they are in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from equitensor.data.bounds import nearest_pair
from equitensor.data.sequence import Snapshots, evenly_spaced
from equitensor.graph import Structure

SAMPLE = 20_000  # structures
_ABSURD_Z = 50.0  # robust z-scores
_ABSURD_FORCE = 30.0  # eV/Angstrom: twice what the strongest bond withstands
_SQUEEZED = 0.72  # of the sum of the covalent radii; triple bonds have 0.77
_ABSURD_SQUEEZED = 500.0  # eV/Angstrom: beyond the repulsion of atoms that are half that sum apart
_ABSURD_ENERGY = 10.0  # eV/atom away from the median: more than any solid is bound by
_ELEMENTS = 118
_NAMED = 5  # absurd labels that are named one by one


@dataclass(frozen=True)
class Usual:
    """Median and spread (1.4826 times the median distance from it: the standard deviation of a Gaussian)."""

    median: float
    spread: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Usual":
        if len(values) == 0:
            return cls(0.0, np.inf)
        median = np.median(values)
        return cls(float(median), float(1.4826 * np.median(np.abs(values - median))))

    def z(self, values):
        """Robust z-scores: distances from the median in units of the spread."""
        return np.abs(values - self.median) / max(self.spread, 1e-6)


def absurd_energies(values, usual: Usual) -> np.ndarray:
    """Whether energies per atom are more than 10 eV and 50 spreads from what is usual."""
    return (np.abs(values - usual.median) > _ABSURD_ENERGY) & (usual.z(values) > _ABSURD_Z)


@dataclass(frozen=True)
class AbsurdLabel:
    """A label so far from the others that it is an error rather than physics."""

    source: str
    what: str
    z: float

    def __str__(self) -> str:
        return f"{self.source or 'a structure'}: {self.what} (robust z-score {self.z:.0f})"


@dataclass(frozen=True)
class _Labels:
    """What is kept of a structure; `squeezed`: its largest force is large because its atoms are pressed together."""

    source: str
    energy: float | None
    forces: np.ndarray
    largest: float
    squeezed: bool


class LabelSample:
    """Interaction energies per atom (eV; of elements with E0s) and norms of the forces on free atoms (eV/Angstrom), and
    what is usual there.

    Structures of weight 0 do not count.
    """

    def __init__(self, structures: Iterable[Structure] = (), e0s: dict[int, float] | None = None) -> None:
        self.e0s = e0s or {}
        self._table = np.full(_ELEMENTS + 1, np.nan)
        self._table[list(self.e0s)] = list(self.e0s.values())
        self._read: list[_Labels] = []
        for structure in structures:
            self.add(structure)

    @classmethod
    def of(cls, snapshots: Snapshots, indices: np.ndarray, e0s: dict[int, float]) -> "LabelSample":
        """Over up to 20 000 structures, evenly spaced."""
        return cls((snapshots[int(i)] for i in evenly_spaced(indices, SAMPLE)), e0s)

    def add(self, structure: Structure) -> None:
        """One more structure; before the first question."""
        if structure.weight > 0:
            forces = np.zeros(0) if structure.forces is None else _free_forces(structure)
            largest = max(forces, default=0.0)
            squeezed = largest > _ABSURD_FORCE and nearest_pair(structure)[1] < _SQUEEZED
            self._read.append(_Labels(structure.source, self._interaction(structure), forces, largest, squeezed))

    @cached_property
    def energies(self) -> np.ndarray:
        return np.array([each.energy for each in self._read if each.energy is not None], dtype=np.float64)

    @cached_property
    def forces(self) -> np.ndarray:
        return np.concatenate([np.zeros(0), *(each.forces for each in self._read)])

    @cached_property
    def usual_energy(self) -> Usual:
        return Usual.of(self.energies)

    @cached_property
    def usual_force(self) -> Usual:
        return Usual.of(self.forces)

    def absurd(self, sample: "LabelSample | None" = None) -> Iterator[AbsurdLabel]:
        """What in a sample, by default this one, is beyond anything here."""
        for each in (self if sample is None else sample)._read:
            energy, largest = each.energy, each.largest
            if energy is not None and self.absurd_energies(energy):
                what = f"energy {energy:.4g} eV/atom beyond the E0s, {self.usual_energy.median:.4g} in the median"
                yield AbsurdLabel(each.source, what, float(self.usual_energy.z(energy)))
            if self.absurd_forces(largest) and (largest > _ABSURD_SQUEEZED or not each.squeezed):
                what = f"a force of {largest:.5g} eV/Angstrom, {self.usual_force.median:.3g} in the median"
                yield AbsurdLabel(each.source, what, float(self.usual_force.z(largest)))

    def warning(self, name: str, sample: "LabelSample | None" = None) -> str | None:
        """A sentence where a sample of the data set `name`, by default this one, holds absurd labels; else None."""
        absurd = list(self.absurd(sample))
        if not absurd:
            return None
        shown = "; ".join(map(str, absurd[:_NAMED])) + f"; and {len(absurd) - _NAMED} more" * (len(absurd) > _NAMED)
        return (
            f"absurd labels in {name}: {shown}. They do not set the scale of a model, and in training their forces "
            "count linearly (loss.huber), but they are errors: repair or remove these structures"
        )

    def absurd_energies(self, values) -> np.ndarray:
        """Whether interaction energies (eV/atom) are more than 10 eV and 50 spreads from the median."""
        return absurd_energies(values, self.usual_energy)

    def absurd_forces(self, values) -> np.ndarray:
        """Whether norms of forces are more than 30 eV/Angstrom and 50 spreads from the median."""
        return (np.asarray(values) > _ABSURD_FORCE) & (self.usual_force.z(values) > _ABSURD_Z)

    def _interaction(self, structure) -> float | None:
        reference = self._table[structure.z].sum()
        if structure.energy is None or np.isnan(reference):  # of an element without E0
            return None
        return (structure.energy - reference) / len(structure)


def _free_forces(structure) -> np.ndarray:
    forces = np.asarray(structure.forces, dtype=np.float64)
    return np.linalg.norm(forces if structure.fixed is None else forces[~structure.fixed], axis=1)
