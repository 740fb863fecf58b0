"""Rotation, reflection, translation, renumbering, and batches: what may not change anything."""

import pytest
import torch

from equitensor import testing
from equitensor.graph import AtomicGraph

CHECKS = (
    testing.assert_rotation_covariant,
    testing.assert_translation_invariant,
    testing.assert_permutation_invariant,
)


@pytest.fixture(params=["alanine", "crystal"])
def structure(request):
    return request.getfixturevalue(request.param)


def test_the_forces_are_worth_a_test(trained_model, structure):
    forces = testing.predictor(trained_model)(structure)["forces"]
    assert 0.3 < forces.square().mean().sqrt() < 30


@pytest.mark.parametrize("check", CHECKS)
def test_symmetry_of_trained_weights(trained_model, structure, check):
    check(testing.predictor(trained_model), structure)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("product", ["cg", "gaunt"])
def test_symmetry_of_either_product_at_degree_three(fresh_model, crystal, product, check):
    model = fresh_model(lmax=3, product=product, zbl=True)
    check(testing.predictor(model), crystal)


def test_descriptors_are_invariant(trained_model, alanine):
    turn = testing.random_rotation(torch.Generator().manual_seed(3), True).numpy()
    turned = alanine.replace(pos=alanine.pos @ turn.T + 2.0)
    before, after = (
        trained_model.descriptors(AtomicGraph.from_structure(s, trained_model.cutoff)) for s in (alanine, turned)
    )
    testing.assert_close(after.detach(), before.detach(), 1e-9)


def test_a_batch_is_its_structures(trained_model, evaluate, make_structure, alanine, crystal):
    """Molecules, crystals, a lone atom and a pair out of reach in one batch: each as if it were alone."""
    far_pair = make_structure([1, 8], [[0, 0, 0], [0, 0, 9.0]])
    members = [make_structure([7], [[1, 2, 3]]), alanine, far_pair, crystal, make_structure([6], [[0, 0, 0]])]
    together = evaluate(trained_model, *members)
    start = 0
    for number, member in enumerate(members):
        alone, stop = evaluate(trained_model, member), start + len(member)
        torch.testing.assert_close(together["energy"][number], alone["energy"][0], rtol=1e-13, atol=0)
        torch.testing.assert_close(together["energies"][start:stop], alone["energies"], rtol=1e-13, atol=0)
        torch.testing.assert_close(together["forces"][start:stop], alone["forces"], rtol=0, atol=1e-11)
        if member.pbc.all():
            torch.testing.assert_close(together["stress"][number], alone["stress"][0], rtol=0, atol=1e-12)
        else:
            assert "stress" not in alone
            assert together["stress"][number].isnan().all()
        start = stop
