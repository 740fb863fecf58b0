"""The edges of a graph in padded rows, one row per receiving atom: sums over neighbours are matrix products."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Edges:
    """Slots of the edges that arrive at the atoms, atom after atom: vectors (slots, 3), sender, receiver, rev (slots,).

    start (n + 1,): those of atom i are start[i] to start[i + 1]; None: all atoms have the same number of them.
    """

    vectors: Tensor
    sender: Tensor
    receiver: Tensor
    rev: Tensor
    start: Tensor | None


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """Neighbour slots of n atoms, `width` (the largest number of neighbours) to an atom.

    vectors (n, width, 3), from sender to receiver; empty slots hold a vector of twice the cutoff, where every
    envelope is zero. sender (n width,) the sending atom, rev (n width,) the slot of the reverse edge; empty
    slots name atom 0 and themselves. slot (e,) says where each edge of the graph went. `edges` are the same without
    empty slots, which are the most where some atoms have many more neighbours than others.
    """

    vectors: Tensor
    sender: Tensor
    rev: Tensor
    slot: Tensor
    edges: Edges

    @property
    def num_nodes(self) -> int:
        return self.vectors.shape[0]

    @property
    def width(self) -> int:
        return self.vectors.shape[1]

    @property
    def receiver(self) -> Tensor:
        """(n width,) the atom that each slot is one of."""
        return torch.arange(self.num_nodes, device=self.slot.device).repeat_interleave(self.width)

    def slots(self) -> Edges:
        """All slots, empty ones, too."""
        return Edges(self.vectors.flatten(0, 1), self.sender, self.receiver, self.rev, None)


def neighborhood(edge_index: Tensor, vectors: Tensor, rev: Tensor, num_nodes: int, cutoff: float) -> Neighborhood:
    """Lay out edges (2, e), sorted by receiver, with their vectors (e, 3) and reverse edges rev (e,)."""
    sender, receiver = edge_index
    degree = torch.bincount(receiver, minlength=num_nodes)
    width = max(1, int(degree.max())) if num_nodes else 1  # one empty slot where there are no edges at all
    slots = num_nodes * width
    start = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
    edges = Edges(vectors, sender, receiver, rev, start)
    position = torch.arange(len(receiver), device=receiver.device)
    if len(receiver) == slots:
        return Neighborhood(vectors.view(num_nodes, width, 3), sender, rev, position, edges)
    slot = receiver * width + position - start.index_select(0, receiver)
    far = vectors.new_zeros(slots, 3)
    far[:, 0] = 2 * cutoff
    own = torch.arange(slots, device=slot.device)
    return Neighborhood(
        vectors=far.index_copy(0, slot, vectors).view(num_nodes, width, 3),
        sender=sender.new_zeros(slots).index_copy(0, slot, sender),
        rev=own.index_copy(0, slot, slot.index_select(0, rev)),
        slot=slot,
        edges=edges,
    )
