"""DimeNet++: PyG's blocks with explicit triplets give the same values; as a potential it is smooth and extensive."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import spherical_jn

from equitensor import models
from equitensor.errors import InputError
from equitensor.graph import AtomicGraph, Structure
from equitensor.models.dimenet import load_pyg_weights
from equitensor.testing import (
    assert_close,
    assert_forces_match_finite_differences,
    assert_rotation_covariant,
    assert_stress_matches_finite_differences,
    predictor,
)

ELEMENTS, CUTOFF = (1, 6, 8), 5.0
SIZES = {
    "channels": 24,
    "layers": 3,
    "lmax": 3,
    "num_radial": 3,
    "triplet_channels": 16,
    "basis_channels": 5,
    "output_channels": 32,
}
PYG_SIZES = {
    "hidden_channels": 24,
    "num_blocks": 3,
    "num_spherical": 4,
    "num_radial": 3,
    "int_emb_size": 16,
    "basis_emb_size": 5,
    "out_emb_channels": 32,
    "out_channels": 1,
    "cutoff": CUTOFF,
}


def build(**settings):
    settings = {"architecture": "dimenet++", "cutoff": CUTOFF, **SIZES, **settings}
    e0s = {z: -float(z) for z in ELEMENTS}
    return models.build(settings, ELEMENTS, e0s).double()


def cluster(z, pos):
    return Structure(z=np.asarray(z), pos=pos, cell=np.zeros((3, 3)), pbc=np.zeros(3, bool))


def molecule(seed, n):
    """Random atoms at least 1 Angstrom apart, denser than matter: 20 and more neighbours each."""
    random, pos = np.random.default_rng(seed), []
    while len(pos) < n:
        new = random.uniform(0, 4.5, 3)
        if all(np.linalg.norm(new - p) > 1.0 for p in pos):
            pos.append(new)
    return cluster(random.choice(ELEMENTS, n), np.array(pos))


def crystal():
    """Three atoms in a skewed cell smaller than the cutoff: an atom neighbours its own images."""
    cell = np.array([[3.1, 0, 0], [0.4, 3.4, 0], [-0.3, 0.5, 2.9]])
    pos = np.array([[0.1, 0.0, 0.2], [1.5, 1.6, 0.3], [0.4, 1.5, 1.7]])
    return Structure(z=np.array([6, 1, 8]), pos=pos, cell=cell, pbc=np.array([True, True, True]))


def graph_of(*structures):
    return AtomicGraph.collate([AtomicGraph.from_structure(s, CUTOFF) for s in structures])


def _zero_near(z, l):
    return brentq(lambda x: spherical_jn(l, x), z - 1e-4, z + 1e-4, xtol=1e-14)


@pytest.fixture(scope="module")
def pyg():
    """PyG's network with random weights everywhere, and its Bessel zeros and norms in double precision.

    PyG rounds them to float32 before it writes the functions out, which moves them by up to 1e-6.
    """
    from torch_geometric.nn.models import DimeNetPlusPlus, dimenet_utils

    def exact_zeros(n, k):
        zeros = rounded_zeros(n, k).astype(float)
        return np.array([[_zero_near(z, l) for z in zeros[l]] for l in range(n)])

    rounded_zeros = dimenet_utils.Jn_zeros
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(dimenet_utils, "Jn_zeros", exact_zeros)
        patch.setattr(dimenet_utils.sym, "simplify", lambda expression: expression)  # it takes a quarter of a minute
        torch.manual_seed(3)
        network = DimeNetPlusPlus(**PYG_SIZES).double()
        for weights in network.parameters():
            weights.data += 0.1 * torch.randn_like(weights)
    return network


def triplets(graph):
    """Every pair of edges k -> j, j -> i, except an edge and itself walked back."""
    (sender, receiver), e = graph.edge_index, torch.arange(graph.num_edges)
    meets = receiver[:, None] == sender[None, :]
    meets[graph.rev, e] = False
    return meets.nonzero(as_tuple=True)


def pyg_energies(network, graph, pos):
    """The body of PyG's forward, which itself needs torch-cluster, on our edges with triplets written out."""
    (j, i), vectors = graph.edge_index, graph.edge_vectors(pos)
    idx_kj, idx_ji = triplets(graph)
    v_kj, v_ji = vectors[idx_kj], vectors[idx_ji]
    angle = torch.atan2(torch.cross(v_ji, v_kj, dim=1).norm(dim=-1), (v_ji * v_kj).sum(-1))
    distance = vectors.norm(dim=1)
    rbf, sbf = network.rbf(distance), network.sbf(distance, angle, idx_kj)
    x = network.emb(graph.z, rbf, i, j)
    energies = network.output_blocks[0](x, rbf, i, num_nodes=graph.num_nodes)
    for interaction, output in zip(network.interaction_blocks, network.output_blocks[1:], strict=True):
        x = interaction(x, rbf, sbf, idx_kj, idx_ji)
        energies = energies + output(x, rbf, i, num_nodes=graph.num_nodes)
    return energies.squeeze(1)


@pytest.mark.parametrize("structures", [[molecule(0, 14), molecule(1, 5), molecule(2, 9)], [crystal()]])
def test_pyg_blocks_give_the_same_energies_and_forces(pyg, structures):
    graph, model = graph_of(*structures), build(pyg_form=True)
    load_pyg_weights(model, pyg)
    pos = graph.pos.clone().requires_grad_(True)
    expected = pyg_energies(pyg, graph, pos)
    (gradient,) = torch.autograd.grad(expected.sum(), pos)
    out = model(graph)
    assert_close(out["energies"] - model.e0s[model.species_of[graph.z]], expected.detach(), 1e-10, "energies")
    assert_close(out["forces"], -gradient, 1e-10, "forces")


def test_pyg_weights_that_do_not_fit_are_refused(pyg):
    with pytest.raises(InputError, match="pyg_form"):
        load_pyg_weights(build(), pyg)
    with pytest.raises(InputError, match="do not fit"):
        load_pyg_weights(build(pyg_form=True, layers=2), pyg.state_dict())


def test_settings_of_another_architecture_are_refused():
    with pytest.raises(InputError, match=r"model\.product is no setting of dimenet\+\+"):
        build(product="cg")


def test_a_model_file_keeps_it(tmp_path):
    model, graph = build(pyg_form=True).eval(), graph_of(molecule(3, 7))
    models.save(model, tmp_path / "model.eqt")
    assert torch.equal(models.load(tmp_path / "model.eqt")(graph)["forces"], model(graph)["forces"])


@pytest.mark.parametrize("structure", [molecule(4, 8), crystal()])
def test_forces_and_symmetry(structure):
    predict = predictor(build())
    assert_forces_match_finite_differences(predict, structure)
    assert_rotation_covariant(predict, structure)
    if structure.pbc.any():
        assert_stress_matches_finite_differences(predict, structure)


def test_isolated_atoms_and_far_fragments():
    model, one, two = build(), molecule(5, 6), molecule(6, 7)
    alone = cluster([8], np.zeros((1, 3)))
    pos = np.concatenate([one.pos, two.pos + 20, alone.pos - 20])
    joined = cluster(np.concatenate([one.z, two.z, alone.z]), pos)
    parts = [model(graph_of(s))["energy"].item() for s in (one, two, alone)]
    assert parts[2] == -8.0
    assert model(graph_of(joined))["energy"].item() == pytest.approx(sum(parts), rel=1e-13)
    assert not model(graph_of(alone))["forces"].any()


def test_second_derivative_is_continuous_at_the_cutoff():
    """An atom leaves another, which has a neighbour on its far side: energy, derivative, curvature."""
    model = build().train()

    def energy_at(distance):
        structure = cluster([6, 8, 1], np.array([[-1.2, 0, 0], [0.0, 0, 0], [distance, 0, 0]]))
        graph = graph_of(structure)
        step = torch.zeros((), dtype=torch.float64, requires_grad=True)
        pos = graph.pos + step * torch.tensor([[0.0, 0, 0], [0.0, 0, 0], [1.0, 0, 0]], dtype=torch.float64)
        energy = model.atomic_energies(graph, graph.edge_vectors(pos)).sum()
        (derivative,) = torch.autograd.grad(energy, step, create_graph=True)
        (curvature,) = torch.autograd.grad(derivative, step, allow_unused=True, materialize_grads=True)
        return graph.num_edges, torch.stack([energy, derivative, curvature]).detach()

    edges_inside, inside = energy_at(CUTOFF - 1e-5)
    edges_outside, outside = energy_at(CUTOFF + 1e-5)
    assert (edges_inside, edges_outside) == (4, 2)
    _, well_inside = energy_at(CUTOFF - 1.5)
    assert ((inside - outside).abs() < 1e-3 * (well_inside - outside).abs()).all()
