"""A potential computed by the compiled evaluator, for one structure as it moves."""

import os

import numpy as np

from equitensor.cores import usable_cores
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.interfaces.evaluator import Evaluated, Model, System
from equitensor.interfaces.one_at_a_time import note_threads, refuse_after_fork, threads_hang
from equitensor.interfaces.skin_list import SkinList
from equitensor.models.error_bars import ErrorBars

_ATOMS_PER_THREAD = 64  # with fewer a second thread costs more than it does


class CoreEngine:
    """Energies, forces, stress and features of structures, in numpy.

    Args: model, an open model file; precision, "float32" or "float64"; skin in Angstrom; threads, or None: as many as
    OMP_NUM_THREADS or the cores, but one for each 64 atoms at most.
    """

    backend = "core"

    def __init__(self, model: Model, precision: str, skin: float, threads: int | None = None):
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}; it must be 1 or more")
        refuse_after_fork(threads or 1)
        self.model, self.elements, self.cutoff = model, model.elements, model.cutoff
        self.rows = Rows(model, precision, threads)
        self.error_bars = model.error_bars
        self.neighbors = _RowList(model, skin, self.rows)

    @property
    def error_bars(self) -> ErrorBars | None:
        """Those of the model file, or what they were set to: None, so that none are computed, or others."""
        return self._error_bars

    @error_bars.setter
    def error_bars(self, bars: ErrorBars | None) -> None:
        self._error_bars, self._in_core = bars, bars is not None and bars is self.model.error_bars

    @property
    def threads(self) -> int:
        """How many threads computed the last structure."""
        return self.rows.system.threads

    @property
    def coordination(self) -> np.ndarray:
        """(n,) neighbours within the cutoff of each atom of the structure computed last."""
        return self.neighbors.within_cutoff(self._last.pos)

    def compute(self, structure: Structure, stress: bool, features: bool = False) -> dict:
        """energy, energies (n,), forces (n, 3) and, where asked for, stress (3, 3), tension positive, and features
        (n, d); with error bars in the model energy_std, forces_std (n,) and novelty (n,).

        The stress is (1/V) dE/d(strain) with V the volume of the cell, whatever is periodic.
        """
        for_others = self._error_bars is not None and not self._in_core
        result = self._evaluate(structure, features or for_others, error_bars=self._in_core)
        self._last = structure
        out = {"energy": result.energy, "energies": result.energies, "forces": result.forces}
        out |= self._error_bars_of(structure, result)
        if features:
            out["features"] = result.features
        if stress:
            out["stress"] = -result.virial / abs(np.linalg.det(structure.cell))
        return out

    def _error_bars_of(self, structure, result) -> dict:
        if self._in_core:
            std = self.model.energy_std(result.sums)
            return {"energy_std": std, "forces_std": result.forces_std, "novelty": result.novelty}
        return {} if self._error_bars is None else self._error_bars.of(structure.z, result.features)

    def descriptors(self, structure: Structure) -> np.ndarray:
        """(n, d) features that no rotation, reflection or translation changes."""
        features = self._evaluate(structure, features=True).features
        assert features is not None  # they are asked for
        return features

    def _evaluate(self, structure, features=False, error_bars=False) -> Evaluated:
        self.neighbors.follow(structure)
        wanted = {"features": features, "error_bars": error_bars}
        return self.rows.evaluate(structure.pos, self.neighbors.translation, **wanted)


class Rows:
    """The neighbours of each atom in a row, and the system that evaluates them.

    It is made when it is asked for, anew in a copy, and where its threads would hang. Args: precision, "float32" or
    "float64"; threads, or None: as many as are of use.
    """

    def __init__(self, model: Model, precision: str, threads: int | None):
        self.model, self.precision, self.threads = model, precision, threads
        self._system: System | None = None

    def __getstate__(self):
        return self.__dict__ | {"_system": None}

    def take(self, numbers: np.ndarray, sender: np.ndarray, receiver: np.ndarray) -> None:
        """Atoms (n,) and edges (e,), sorted by receiver."""
        self._numbers, self._sender = numbers, sender
        self._start = np.concatenate([[0], np.cumsum(np.bincount(receiver, minlength=len(numbers)))])
        if self._system is None or self._system.threads != self._count_threads():
            self._system = None  # see `system`
        else:
            self._system.set_neighbors(self._numbers, self._start, self._sender)

    @property
    def system(self) -> System:
        """The system with the neighbours taken last."""
        if self._system is None or (self.threads is None and self._system.threads > 1 and threads_hang()):
            self._system = System(self.model, self.precision, self._count_threads())
            self._system.set_neighbors(self._numbers, self._start, self._sender)
        return self._system

    def evaluate(self, pos, translation=None, **wanted) -> Evaluated:
        """As `System.evaluate`."""
        system = self.system
        note_threads(system.threads)
        return system.evaluate(pos, translation, **wanted)

    def _count_threads(self) -> int:
        return self.threads or min(_available_threads(), max(1, len(self._numbers) // _ATOMS_PER_THREAD))


class _RowList(SkinList):
    """The rows of one structure as it moves."""

    def __init__(self, model: Model, skin: float, rows: Rows):
        super().__init__(model.cutoff, skin)
        self.rows = rows
        self.translation: np.ndarray | None = None  # (edges, 3) Angstrom

    def within_cutoff(self, pos: np.ndarray) -> np.ndarray:
        """(n,) how many neighbours each atom has."""
        vectors = pos[self._receiver] - pos[self._sender]
        if self.translation is not None:
            vectors += self.translation
        near = np.einsum("ea,ea->e", vectors, vectors) < self.cutoff**2
        return np.bincount(self._receiver[near], minlength=len(pos))

    def _take(self, origin, edge_index, shift, rev) -> None:
        self._sender, self._receiver = edge_index
        self._shift = shift if origin.pbc.any() else None
        self.rows.take(origin.z, self._sender, self._receiver)

    def _set_cell(self, cell) -> None:
        self.translation = None if self._shift is None else self._shift @ cell


def _available_threads() -> int:
    """OMP_NUM_THREADS, or the cores that this process may use; one where more would hang."""
    if threads_hang():
        return 1
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if first.isdigit() and int(first) > 0:
        return int(first)
    return usable_cores()
