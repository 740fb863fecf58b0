"""The graph of a moving structure, for potentials in torch."""

import numpy as np
import torch
from torch import Tensor

from equitensor.graph import AtomicGraph, Structure
from equitensor.interfaces.skin_list import SkinList


class GraphList(SkinList):
    """Graphs of one structure as it moves, each equal to the one that a fresh neighbour search gives."""

    def __init__(self, cutoff: float, skin: float, device="cpu"):
        super().__init__(cutoff, skin)
        self.device = torch.device(device)

    def graph(self, structure: Structure) -> AtomicGraph:
        """The graph of this structure, edges up to the cutoff, on the list's device; labels are left out."""
        self.follow(structure)
        pos = torch.from_numpy(structure.pos).to(self.device)
        return within_cutoff(self._wide, pos, self._translation, self.cutoff)

    def _take(self, origin, edge_index, shift, rev) -> None:
        tensor = torch.from_numpy
        self._wide = AtomicGraph(
            z=tensor(origin.z),
            pos=tensor(origin.pos),
            batch=torch.zeros(len(origin), dtype=torch.int64),
            edge_index=tensor(edge_index),
            shift=tensor(shift),
            rev=tensor(rev),
            cell=tensor(origin.cell)[None],
            pbc=tensor(origin.pbc)[None],
            ordered=True,
        ).to(self.device)

    def _set_cell(self, cell: np.ndarray) -> None:
        """Keep the translations of the edges in Angstrom."""
        self._wide = self._wide.replace(cell=torch.from_numpy(cell).to(self.device)[None])
        self._translation = (self._wide.shift.double() @ self._wide.cell[0]).T.contiguous()


def within_cutoff(wide: AtomicGraph, pos: Tensor, translation: Tensor, cutoff: float) -> AtomicGraph:
    """The graph at these positions with those of its edges that are shorter than `cutoff` (Angstrom), in their order.

    Args: translation (3, e) in Angstrom, shift @ cell of every edge, a row for each axis.
    """
    sender, receiver = wide.edge_index
    axes = pos.T.contiguous()  # (3, e) from here on: a sum over the last axis of (e, 3) is slow
    vectors = axes.index_select(1, receiver) - axes.index_select(1, sender)
    if wide.pbc.any():
        vectors = vectors + translation
    near = vectors.square().sum(0) < cutoff**2
    # an edge and its reverse stay or go together, whatever the rounding
    near = near & near.index_select(0, wide.rev)
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
