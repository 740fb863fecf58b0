"""A potential small enough to know by heart: a Morse pair sum that looks like a Potential."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from equitensor.errors import InputError


class Morse(torch.nn.Module):
    """E_i = E0 + 1/2 sum_j D ((1 - exp(-a (r - r0)))^2 - 1) f(r), f smooth and 0 at the cutoff."""

    def __init__(self, elements=(6, 14), r0=2.35, cutoff=4.5):
        super().__init__()
        self.elements, self.cutoff, self.r0 = tuple(elements), cutoff, r0
        self.depth = torch.nn.Parameter(torch.tensor(1.2))
        self.width = torch.nn.Parameter(torch.tensor(1.6))

    @property
    def dtype(self):
        return self.depth.dtype

    @property
    def device(self):
        return self.depth.device

    def forward(self, graph, forces=True, stress=None):
        if not set(graph.z.tolist()) <= set(self.elements):
            raise InputError("unknown element")
        pos = graph.pos.detach().requires_grad_()
        strain = torch.zeros_like(graph.cell).requires_grad_()
        deform = torch.eye(3, dtype=torch.float64) + 0.5 * (strain + strain.mT)
        strained = torch.einsum("na,nab->nb", pos, deform[graph.batch])
        vectors = graph.edge_vectors(strained, graph.cell @ deform).to(self.dtype)
        energies = self._energies(graph, vectors.norm(dim=1))
        energy = torch.zeros(graph.num_graphs, dtype=torch.float64).index_add(0, graph.batch, energies)
        gradient, virial = torch.autograd.grad(energy.sum(), (pos, strain))
        out = {"energy": energy, "energies": energies, "forces": -gradient}
        if stress or (stress is None and graph.pbc.all()):
            out["stress"] = virial / torch.linalg.det(graph.cell).abs()[:, None, None]
        return {name: value.detach() for name, value in out.items()}

    def descriptors(self, graph):
        edge = torch.exp(-graph.edge_vectors().norm(dim=1)).to(self.dtype)
        return torch.zeros(graph.num_nodes, dtype=self.dtype).index_add(0, graph.edge_index[1], edge)[:, None]

    def _energies(self, graph, r):
        x = (r / self.cutoff).clamp(max=1)
        pair = self.depth * ((1 - torch.exp(-self.width * (r - self.r0))) ** 2 - 1) * (1 - x**2) ** 3
        own = torch.full((graph.num_nodes,), -3.0, dtype=torch.float64)
        return own.index_add(0, graph.edge_index[1], 0.5 * pair.double())


@pytest.fixture
def morse():
    return Morse()


@pytest.fixture
def silicon():
    """8 atoms in a strained cell of low symmetry, off their sites."""
    atoms = bulk("Si", cubic=True)
    strain = np.array([[0.02, 0.03, 0], [0, -0.01, 0.02], [0.01, 0, 0.03]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), True)
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.fixture
def cluster():
    """Five atoms of two elements, near each other's minimum."""
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 2.0 / 3**0.5
    atoms = Atoms("CSi4", np.vstack([np.zeros(3), tetrahedron]))
    atoms.rattle(0.05, seed=2)
    return atoms


@pytest.fixture
def e3nn_in_float64():
    """float64 and a fixed seed while e3nn builds its layers: it rounds its constants to the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)
