"""The directional step: density and read-out less the back edge equal a sum over triplets with Legendre polynomials."""

import numpy as np
import pytest
import torch

from equitensor.graph import AtomicGraph, Structure
from equitensor.nn.harmonics import SphericalHarmonics
from equitensor.nn.neighborhood import neighborhood
from equitensor.ops.triplet_sum import triplet_sum
from equitensor.testing import assert_close

CUTOFF, LMAX, CHANNELS = 3.0, 6, 3


def legendre(cosine):
    """P_0 .. P_LMAX by Bonnet's recursion: smooth in the cosine, (t,) -> (t, LMAX+1)."""
    terms = [torch.ones_like(cosine), cosine]
    for l in range(1, LMAX):
        terms.append(((2 * l + 1) * cosine * terms[l] - l * terms[l - 1]) / (l + 1))
    return torch.stack(terms, dim=1)


def radial(distance, weight):
    """Any smooth function of distance, degree and channel that ends at the cutoff: (e, LMAX+1, C)."""
    x = (distance / CUTOFF).view(-1, 1, 1)
    return (1 - x) ** 3 * torch.cos(weight * x) * (x < 1)


def with_triplets(graph, vectors, weight):
    (sender, receiver), edges = graph.edge_index, torch.arange(graph.num_edges)
    meets = receiver[:, None] == sender[None, :]
    meets[graph.rev, edges] = False
    kj, ji = meets.nonzero(as_tuple=True)
    distance = vectors.norm(dim=1)
    unit = vectors / distance[:, None]
    terms = radial(distance, weight)[kj] * legendre((unit[kj] * unit[ji]).sum(1)).unsqueeze(2)
    return torch.zeros(graph.num_edges, CHANNELS, dtype=vectors.dtype).index_add(0, ji, terms.sum(1))


def without_triplets(graph, vectors, weight):
    rows = neighborhood(graph.edge_index, vectors, graph.rev, graph.num_nodes, CUTOFF)
    flat = rows.vectors.flatten(0, 1)
    distance = flat.norm(dim=1)
    harmonics = SphericalHarmonics(LMAX).double()(flat / distance[:, None])
    messages = radial(distance, weight).view(rows.num_nodes, rows.width, LMAX + 1, CHANNELS)
    harmonics = harmonics.view(rows.num_nodes, rows.width, -1)
    return triplet_sum(messages, harmonics, rows.rev.index_select(0, rows.slot))


def some_weights():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(LMAX + 1, CHANNELS, dtype=torch.float64, generator=generator) * 3


def cluster(pos):
    return Structure(z=np.full(len(pos), 6), pos=pos, cell=np.zeros((3, 3)), pbc=np.zeros(3, bool))


def molecule():
    """Atoms with one to many neighbours, so that some slots are empty, and one with none."""
    pos = np.random.default_rng(1).normal(size=(12, 3)) * 1.5
    return cluster(np.concatenate([pos, [[30.0, 0, 0]]]))


def crystal():
    cell = np.array([[2.1, 0, 0], [0.4, 2.4, 0], [-0.3, 0.5, 1.9]])
    return Structure(z=np.full(2, 6), pos=np.array([[0.1, 0, 0.2], [1.1, 1.2, 0.9]]), cell=cell, pbc=np.ones(3, bool))


@pytest.mark.parametrize("structure", [molecule(), crystal()])
def test_equals_the_sum_over_triplets(structure):
    graph, weight = AtomicGraph.from_structure(structure, CUTOFF), some_weights()
    results = []
    for form in (with_triplets, without_triplets):
        pos = graph.pos.clone().requires_grad_(True)
        value = form(graph, graph.edge_vectors(pos), weight)
        (gradient,) = torch.autograd.grad(value.square().sum(), pos)
        results.append((value.detach(), gradient))
    assert_close(results[1][0], results[0][0], 1e-12, "values")
    assert_close(results[1][1], results[0][1], 1e-12, "forces")


def test_derivatives_at_collinear_atoms():
    """Three atoms in a line and one beside: first and second derivatives equal finite differences."""
    pos = torch.tensor([[0.0, 0, 0], [1.1, 0, 0], [2.3, 0, 0], [1.1, 0, 1.4]], dtype=torch.float64)
    graph = AtomicGraph.from_structure(cluster(pos.numpy()), CUTOFF)
    weight = some_weights()

    def energy(x):
        return without_triplets(graph, graph.edge_vectors(x), weight).square().sum()

    gradient = torch.autograd.functional.jacobian(energy, pos)
    hessian = torch.autograd.functional.hessian(energy, pos).reshape(12, 12)
    h, numeric, numeric_hessian = 1e-4, torch.zeros(12, dtype=torch.float64), torch.zeros_like(hessian)
    for n, direction in enumerate(torch.eye(12, dtype=torch.float64).view(12, 4, 3)):
        steps = [pos + s * h * direction for s in (-2, -1, 1, 2)]
        stencil = torch.tensor([1.0, -8, 8, -1], dtype=torch.float64) / (12 * h)
        numeric[n] = stencil @ torch.stack([energy(x) for x in steps])
        gradients = torch.stack([torch.autograd.functional.jacobian(energy, x).flatten() for x in steps])
        numeric_hessian[n] = stencil @ gradients
    assert_close(gradient.flatten(), numeric, 1e-9, "gradient")
    assert_close(hessian, numeric_hessian, 1e-9, "second derivative")
