"""The dispersion of a run's structures: computed once, taken off the labels that are learned, added to predictions."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track

from equitensor.cores import usable_cores
from equitensor.data import Snapshots
from equitensor.graph import Structure
from equitensor.models import D3
from equitensor.models.dispersion import Dispersion

_AT_ONCE = 256  # structures read ahead


@dataclass(frozen=True)
class D3Table:
    """D3 of m structures of one data set: index (m,) rising; energy (m,) eV; forces of all, one after the other, from
    start (m + 1,); stress (m, 3, 3), NaN where there is none."""

    index: np.ndarray
    energy: np.ndarray
    start: np.ndarray
    forces: np.ndarray
    stress: np.ndarray

    @classmethod
    def of(cls, d3: D3, snapshots: Snapshots, indices, console: Console) -> "D3Table":
        """Of `snapshots[indices]`, in as many threads as there are cores."""
        index, began = np.unique(np.asarray(indices, dtype=np.int64)), time.monotonic()
        parts = [index[first : first + _AT_ONCE] for first in range(0, len(index), _AT_ONCE)]
        computed: list[Dispersion] = []
        with ThreadPoolExecutor(usable_cores()) as pool:  # the package computes outside of Python's lock
            shown = track(parts, f"d3 {d3.name}", console=console, transient=True, disable=not console.is_terminal)
            for part in shown:
                computed += pool.map(lambda s: d3.compute(s, bool(s.pbc.all())), [snapshots[int(i)] for i in part])
        console.print(
            f"d3 {d3.name}: of {len(index)} structures in {snapshots.name}, {time.monotonic() - began:.1f} s",
            soft_wrap=True,
            markup=False,
        )
        nothing = np.full((3, 3), np.nan)
        return cls(
            index=index,
            energy=np.array([each.energy for each in computed]),
            start=np.cumsum([0, *(len(each.forces) for each in computed)]),
            forces=np.concatenate([np.zeros((0, 3)), *(each.forces for each in computed)]),
            stress=np.array([nothing if each.stress is None else each.stress for each in computed]).reshape(-1, 3, 3),
        )

    def at(self, i: int) -> Dispersion:
        """That of snapshot i. Raises KeyError for one that was not computed."""
        k = int(np.searchsorted(self.index, i))
        if k == len(self.index) or self.index[k] != i:
            raise KeyError(i)
        stress = self.stress[k]
        forces = self.forces[self.start[k] : self.start[k + 1]]
        return Dispersion(float(self.energy[k]), forces, None if np.isnan(stress).any() else stress)

    def left(self, i: int, structure: Structure) -> Structure:
        """Snapshot i with the labels that are to be learned."""
        return self.at(i).added_to(structure, sign=-1.0)
