"""What a model needs to know of its training data before the first step: scale, shift, number of neighbours.

None of these may hang on a few labels: one force of 1e4 eV/Angstrom among ordinary ones, or relaxed structures whose
forces are zero to within the relaxation's threshold.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from equitensor.data import GraphDataset
from equitensor.graph import Structure

_SAMPLE = 20_000
_NEIGHBOR_SAMPLE = 100
_RELAXED = 0.01  # eV/Angstrom: what relaxations leave; a smaller force does not say how large forces are
_SMALLEST_SCALE = 0.01  # eV
_ABSURD_Z = 50.0  # robust z-scores
_ABSURD_FORCE = 30.0  # eV/Angstrom: twice what the strongest bond withstands
_ABSURD_ENERGY = 10.0  # eV/atom away from the median: more than any solid is bound by


@dataclass(frozen=True)
class Statistics:
    """scale: RMS of a force component (eV/Angstrom), or the spread of the interaction energy per atom where no force
    says it; shift: mean interaction energy per atom (eV); num_neighbors: mean number of neighbours within the cutoff.
    """

    scale: float
    shift: float
    num_neighbors: float


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


@dataclass(frozen=True)
class AbsurdLabel:
    """A label so far from the others that it is an error rather than physics."""

    source: str
    what: str
    z: float

    def __str__(self) -> str:
        return f"{self.source or 'a structure'}: {self.what} (robust z-score {self.z:.0f})"


class LabelSample:
    """Interaction energies per atom (eV) and norms of the forces on free atoms (eV/Angstrom), and what is usual there.

    Structures of weight 0 do not count.
    """

    def __init__(self, structures: Iterable[Structure], e0s: dict[int, float]) -> None:
        self.e0s = np.zeros(max(e0s, default=0) + 1)
        self.e0s[list(e0s)] = list(e0s.values())
        energies, forces = [], [np.zeros(0)]
        for structure in structures:
            if structure.weight > 0:
                energies += [] if structure.energy is None else [self._interaction(structure)]
                forces += [] if structure.forces is None else [_free_forces(structure)]
        self.energies, self.forces = np.array(energies, dtype=np.float64), np.concatenate(forces)
        self.usual_energy, self.usual_force = Usual.of(self.energies), Usual.of(self.forces)

    @classmethod
    def of(cls, dataset: GraphDataset, e0s: dict[int, float]) -> "LabelSample":
        """Over up to 20 000 structures, evenly spaced."""
        return cls((dataset.snapshots[int(i)] for i in spread(dataset.indices)), e0s)

    def absurd(self, structures: Iterable[Structure]) -> Iterator[AbsurdLabel]:
        """What in these structures is beyond anything here."""
        for structure in structures:
            if structure.energy is not None and structure.weight > 0:
                value = self._interaction(structure)
                if self._absurd_energies(np.array([value]))[0]:
                    what = f"energy {value:.4g} eV/atom beyond the E0s, {self.usual_energy.median:.4g} in the median"
                    yield AbsurdLabel(structure.source, what, float(self.usual_energy.z(value)))
            if structure.forces is not None and structure.weight > 0:
                largest = max(_free_forces(structure), default=0.0)
                if self._absurd_forces(np.array([largest]))[0]:
                    what = f"a force of {largest:.5g} eV/Angstrom, {self.usual_force.median:.3g} in the median"
                    yield AbsurdLabel(structure.source, what, float(self.usual_force.z(largest)))

    def scale_and_shift(self) -> tuple[float, float]:
        """As in Statistics, without what is absurd; forces count from 0.01 eV/Angstrom, which relaxations leave."""
        energies = self.energies[~self._absurd_energies(self.energies)]
        forces = self.forces[~self._absurd_forces(self.forces) & (self.forces > _RELAXED)]
        shift = float(energies.mean()) if len(energies) else 0.0
        if len(forces):
            return max(float(np.sqrt(np.square(forces).mean() / 3)), _SMALLEST_SCALE), shift
        return (max(float(energies.std()), _SMALLEST_SCALE) if len(energies) > 1 else 1.0), shift

    def _interaction(self, structure) -> float:
        return (structure.energy - self.e0s[structure.z].sum()) / len(structure)

    def _absurd_energies(self, values):
        far = np.abs(values - self.usual_energy.median) > _ABSURD_ENERGY
        return far & (self.usual_energy.z(values) > _ABSURD_Z)

    def _absurd_forces(self, values):
        return (values > _ABSURD_FORCE) & (self.usual_force.z(values) > _ABSURD_Z)


def statistics(dataset: GraphDataset, labels: LabelSample) -> Statistics:
    """Of a training set whose labels are sampled (neighbours: over 100 structures)."""
    scale, shift = labels.scale_and_shift()
    graphs = [dataset[int(i)] for i in spread(np.arange(len(dataset)), _NEIGHBOR_SAMPLE)]
    neighbors = sum(g.num_edges for g in graphs) / max(1, sum(g.num_nodes for g in graphs))
    return Statistics(scale=scale, shift=shift, num_neighbors=max(neighbors, 1.0))


def spread(values: np.ndarray, most: int = _SAMPLE) -> np.ndarray:
    """At most so many of the values, evenly spaced."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).astype(int)]


def _free_forces(structure) -> np.ndarray:
    forces = np.asarray(structure.forces, dtype=np.float64)
    return np.linalg.norm(forces if structure.fixed is None else forces[~structure.fixed], axis=1)
