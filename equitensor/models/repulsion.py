"""Pairs of atoms that are nearer to each other than training data have them: a repulsion, and a backbone at rest."""

from collections.abc import Sequence

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from equitensor.models.zbl import screened_coulomb

UNSEEN = 0.8  # of the sum of the covalent radii: where the repulsion of pairs begins that no data tell about
_WIDTH = 0.05  # of the distance b: how fast the backbone comes to rest below it


class Repulsion(nn.Module):
    """Below a distance b of the two elements, that of ZBL begins, and the backbone sees b - w tanh((b - d) / w).

    The backbone multiplies radial functions of many neighbours with each other, some twenty in all: nobody knows what
    their product does below the shortest distance of the training data. With this it stays about what it is at b,
    w = 0.05 b, and what grows is a repulsion that every pair has.

    Args: elements, atomic numbers in rising order; cutoff of the edges, Angstrom. The buffer `begins` (E, E) holds b by
    the elements' indices, 0.8 of the sum of the covalent radii until `set_begins`.
    """

    begins: Tensor

    def __init__(self, elements: Sequence[int], cutoff: float) -> None:
        super().__init__()
        self.cutoff = float(cutoff)
        radii = torch.tensor([covalent_radii[z] for z in elements], dtype=torch.float64)
        self.register_buffer("begins", torch.zeros(len(radii), len(radii)))
        self.set_begins(UNSEEN * (radii[:, None] + radii))

    def set_begins(self, distances: Tensor) -> None:
        """distances (E, E) in Angstrom, symmetric; rounded to float32, so that they are the same in any precision."""
        self.begins.copy_(distances.clamp(max=self.cutoff).float())

    def seen(self, species: Tensor, edge_index: Tensor, vectors: Tensor) -> Tensor:
        """Edge vectors (e, 3) as the backbone sees them: the same directions, longer ones for pairs below b."""
        near, distance, begin = self._near(species, edge_index, vectors)
        if len(near) == 0:
            return vectors
        width = _WIDTH * begin
        seen = begin - width * torch.tanh((begin - distance) / width)
        return vectors.index_copy(0, near, vectors.index_select(0, near) * (seen / distance).unsqueeze(1))

    def forward(self, z: Tensor, species: Tensor, edge_index: Tensor, vectors: Tensor) -> Tensor:
        """z, species (n,), vectors (e, 3) as they are -> energies (n,) in eV."""
        near, distance, begin = self._near(species, edge_index, vectors)
        sender, receiver = edge_index.index_select(1, near)
        pair = screened_coulomb(z.index_select(0, sender), z.index_select(0, receiver), distance, begin)
        return pair.new_zeros(len(z)).index_add(0, receiver, pair)

    def _near(self, species: Tensor, edge_index: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which edges are below their b: their indices, lengths and b."""
        sender, receiver = (species.index_select(0, atoms) for atoms in edge_index)
        begin = self.begins[sender, receiver].to(vectors.dtype)
        near = (vectors.detach().norm(dim=1) < begin).nonzero().squeeze(1)
        return near, vectors.index_select(0, near).norm(dim=1), begin.index_select(0, near)
