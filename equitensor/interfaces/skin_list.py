"""A Verlet skin list: the neighbours of a moving structure, searched anew only when an atom has moved far."""

import numpy as np
import torch
from torch import Tensor

from equitensor.graph import AtomicGraph, Structure


class SkinList:
    """Graphs of one structure as it moves, each equal to the one that a fresh neighbour search gives.

    The search goes out to cutoff + skin (Angstrom). With the cell deformed by F since then, pos = pos0 F + u,
    every pair that is now nearer than the cutoff was nearer than (cutoff + |u_i| + |u_j|) / s, with s the
    smallest singular value of F: as long as that stays below cutoff + skin the list holds all edges, and only
    those beyond the cutoff have to be left out. A drift of all atoms together changes no distance: it is
    taken out of u.
    """

    def __init__(self, cutoff: float, skin: float, device="cpu"):
        self.cutoff, self.skin, self.device = float(cutoff), float(skin), torch.device(device)
        self.builds, self.closest = 0, float("inf")  # Angstrom, between two atoms of the structure seen last
        self._origin: Structure | None = None
        self._wide: AtomicGraph | None = None

    def graph(self, structure: Structure) -> AtomicGraph:
        """The graph of this structure, edges up to the cutoff, on the list's device; labels are left out."""
        if self._origin is None or not self._covers(structure):
            self._build(structure)
        pos = torch.from_numpy(structure.pos).to(self.device)
        if structure.pbc.any() and not np.array_equal(structure.cell, self._cell):
            self._set_cell(structure.cell)
        return self._within_cutoff(pos)

    def _build(self, structure: Structure):
        bare = Structure(structure.z, structure.pos.copy(), structure.cell.copy(), structure.pbc.copy())
        self._wide = AtomicGraph.from_structure(bare, self.cutoff + self.skin).to(self.device)
        self._origin = bare
        self._set_cell(bare.cell)
        self.builds += 1

    def _set_cell(self, cell: np.ndarray):
        """Keep the translations of the edges in Angstrom: they change with the cell only."""
        self._cell = cell.copy()
        self._wide = self._wide.replace(cell=torch.from_numpy(self._cell).to(self.device)[None])
        self._translation = (self._wide.shift.double() @ self._wide.cell[0]).T.contiguous()

    def _covers(self, structure: Structure) -> bool:
        """Whether every edge of the moved structure is in the wide list."""
        origin = self._origin
        if not np.array_equal(structure.z, origin.z) or not np.array_equal(structure.pbc, origin.pbc):
            return False
        displaced, shrink = structure.pos - origin.pos, 1.0
        if structure.pbc.any() and not np.array_equal(structure.cell, origin.cell):
            if not structure.pbc.all():
                return False
            deformation = np.linalg.solve(origin.cell, structure.cell)
            displaced = structure.pos - origin.pos @ deformation
            shrink = np.linalg.svd(deformation, compute_uv=False)[-1]
        displaced = displaced - displaced.mean(axis=0)
        squares = np.einsum("ia,ia->i", displaced, displaced)
        largest = np.sqrt(np.sort(squares)[-2:]).sum()
        return bool(self.cutoff + largest <= shrink * (self.cutoff + self.skin))

    def _within_cutoff(self, pos: Tensor) -> AtomicGraph:
        wide = self._wide
        sender, receiver = wide.edge_index
        axes = pos.T.contiguous()  # (3, e) from here on: a sum over the last axis of (e, 3) is slow
        vectors = axes.index_select(1, receiver) - axes.index_select(1, sender)
        if self._origin.pbc.any():
            vectors = vectors + self._translation
        squares = vectors.square().sum(0)
        self.closest = float(squares.min().sqrt()) if len(squares) else float("inf")
        near = squares < self.cutoff**2
        near = near & near.index_select(
            0, wide.rev
        )  # an edge and its reverse stay or go together, whatever the rounding
        kept = near.nonzero().squeeze(1)
        if kept.shape[0] == wide.num_edges:
            return wide.replace(pos=pos)
        position = near.cumsum(0) - 1
        return wide.replace(
            pos=pos,
            edge_index=wide.edge_index.index_select(1, kept),
            shift=wide.shift.index_select(0, kept),
            rev=position.index_select(0, wide.rev.index_select(0, kept)),
            ordered=True,
        )
