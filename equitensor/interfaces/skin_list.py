"""A Verlet skin list: the neighbours of a moving structure, searched anew only when an atom has moved far."""

from abc import ABC, abstractmethod

import numpy as np

from equitensor.errors import InputError
from equitensor.graph import Structure, check_geometry, neighbor_list
from equitensor.graph.geometry import TOO_CLOSE


class SkinList(ABC):
    """Neighbours of one structure as it moves: those within the cutoff are the ones of a fresh search.

    The search goes out to cutoff + skin (Angstrom). With the cell deformed by F since then, pos = pos0 F + u,
    every pair that is now nearer than the cutoff was nearer than (cutoff + |u_i| + |u_j|) / s, with s the
    smallest singular value of F: as long as that stays below cutoff + skin the list holds all edges, and only
    those beyond the cutoff have to be left out. A drift of all atoms together changes no distance: it is
    taken out of u.
    """

    def __init__(self, cutoff: float, skin: float):
        self.cutoff, self.skin = float(cutoff), float(skin)
        self.builds, self._shortest = 0, np.inf  # Angstrom, between two atoms of the origin
        self.origin: Structure | None = None

    @abstractmethod
    def _take(self, origin: Structure, edge_index: np.ndarray, shift: np.ndarray, rev: np.ndarray) -> None:
        """Hold the edges up to cutoff + skin of this structure, as `neighbor_list` gives them."""

    @abstractmethod
    def _set_cell(self, cell: np.ndarray) -> None:
        """The cell has become this one: translations of edges change."""

    def follow(self, structure: Structure) -> None:
        """Search anew where the list does not hold all pairs of this structure any more.

        Raises InputError for two atoms that have come into one place.
        """
        shrink, moved = self._motion(structure)
        if self.cutoff + moved > shrink * (self.cutoff + self.skin):
            self._build(structure)
            return
        _check_places(structure, shrink * self._shortest - moved)
        if structure.pbc.any() and not np.array_equal(structure.cell, self._cell):
            self._cell = structure.cell.copy()
            self._set_cell(self._cell)

    def _build(self, structure: Structure) -> None:
        bare = Structure(structure.z, structure.pos.copy(), structure.cell.copy(), structure.pbc.copy())
        try:
            edge_index, shift, rev = neighbor_list(bare.pos, bare.cell, bare.pbc, self.cutoff + self.skin)
            shortest = _shortest(bare, edge_index, shift)
            _check_places(bare, shortest)
        except InputError as error:
            raise InputError(f"{structure.source or 'structure'}: {error}") from None
        self.origin = None  # until all is taken
        self._take(bare, edge_index, shift, rev)
        self._set_cell(bare.cell)
        self.origin, self._cell, self._shortest = bare, bare.cell, shortest
        self.builds += 1

    def _motion(self, structure: Structure) -> tuple[float, float]:
        """s and the largest |u_i| + |u_j| (Angstrom) since the search; (0, 0), which no list covers, for another."""
        origin = self.origin
        if origin is None or not np.array_equal(structure.z, origin.z) or not np.array_equal(structure.pbc, origin.pbc):
            return 0.0, 0.0
        displaced, shrink = structure.pos - origin.pos, 1.0
        if structure.pbc.any() and not np.array_equal(structure.cell, origin.cell):
            if not structure.pbc.all():
                return 0.0, 0.0
            deformation = np.linalg.solve(origin.cell, structure.cell)
            displaced = structure.pos - origin.pos @ deformation
            shrink = float(np.linalg.svd(deformation, compute_uv=False)[-1])
        displaced = displaced - displaced.mean(axis=0)
        squares = np.einsum("ia,ia->i", displaced, displaced)
        return shrink, float(np.sqrt(np.sort(squares)[-2:]).sum())


def _check_places(structure: Structure, at_least: float) -> None:
    """Look for two atoms in one place, unless all are known to be `at_least` so far apart (Angstrom)."""
    if at_least < TOO_CLOSE:
        check_geometry(structure.pos, structure.cell, structure.pbc)


def _shortest(structure: Structure, edge_index: np.ndarray, shift: np.ndarray) -> float:
    """The shortest edge in Angstrom."""
    sender, receiver = edge_index
    vectors = structure.pos[receiver] - structure.pos[sender] + shift @ structure.cell
    return float(np.sqrt(np.einsum("ea,ea->e", vectors, vectors).min())) if len(vectors) else np.inf
