"""What a potential promises beside its physics: precision, modes, elements, odd graphs."""

import pytest
import torch

from equitensor import models, testing
from equitensor.errors import InputError
from equitensor.graph import AtomicGraph


def test_float32_agrees_with_float64(trained_file, trained_model, alanine, crystal):
    single = testing.predictor(models.load(trained_file))
    for structure in (alanine, crystal):
        rough, fine = single(structure), testing.predictor(trained_model)(structure)
        assert abs(rough["energy"] - fine["energy"]) < 1e-5 * len(structure)  # eV
        testing.assert_close(rough["forces"], fine["forces"], 1e-4, "float32 forces")
    assert models.load(trained_file).dtype == torch.float32


def test_results_are_float64_whatever_the_weights(trained_file, evaluate, crystal):
    out = evaluate(models.load(trained_file), crystal)
    assert {value.dtype for value in out.values()} == {torch.float64}
    assert not any(value.requires_grad for value in out.values())


def test_nothing_but_the_energy_is_computed_where_asked(trained_model, evaluate, alanine):
    out = evaluate(trained_model, alanine, forces=False)
    assert set(out) == {"energy", "energies"}
    torch.testing.assert_close(out["energy"], out["energies"].sum()[None], rtol=1e-14, atol=0)


def test_it_works_without_gradients_enabled(trained_model, evaluate, alanine):
    with torch.no_grad():
        assert torch.equal(evaluate(trained_model, alanine)["forces"], evaluate(trained_model, alanine)["forces"])


def test_an_unknown_element_is_named(trained_model, evaluate, make_structure):
    for z in (14, 92):  # below and above the largest known
        with pytest.raises(InputError, match=r"knows the elements H, C, N, O, not (Si|U)"):
            evaluate(trained_model, make_structure([6, z], [[0, 0, 0], [0, 0, 1.5]]))


def test_a_batch_without_edges(trained_model, evaluate, make_structure):
    """A batch in which nothing has a neighbour, in training mode too."""
    lone = [make_structure([z], [[0, 0, 0]]) for z in (1, 8)]
    trained_model.train()
    try:
        out = evaluate(trained_model, *lone)
        (out["energy"].sum() + out["forces"].square().sum()).backward()
    finally:
        trained_model.eval()
    assert all(p.grad is None or p.grad.isfinite().all() for p in trained_model.parameters())
    trained_model.zero_grad()
    assert not out["forces"].any()


def test_stress_of_a_mixed_batch_can_be_learnt_from(fresh_model, evaluate, alanine, crystal):
    """A molecule has no volume; that must not reach the gradients."""
    model = fresh_model().train()
    out = evaluate(model, alanine, crystal, stress=True)
    assert out["stress"][0].isnan().all()
    out["stress"][1].square().sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(g.isfinite().all() for g in gradients)


def test_building_is_repeatable_and_leaves_the_random_state_alone(fresh_model):
    before = torch.get_rng_state()
    first, again, other = (fresh_model(seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_an_unknown_architecture_is_named():
    with pytest.raises(InputError, match=r"model\.architecture is 'schnet': choose one of directional"):
        models.build({"architecture": "schnet", "cutoff": 4.0}, [1], {1: 0.0})


def test_models_on_either_product_have_forces_and_stress(fresh_model, crystal):
    for product in ("cg", "gaunt"):
        predict = testing.predictor(fresh_model(product=product, zbl=True))
        testing.assert_forces_match_finite_differences(predict, crystal)
        testing.assert_stress_matches_finite_differences(predict, crystal)


def test_descriptors_have_a_row_per_atom(trained_model, alanine):
    assert trained_model.descriptors(AtomicGraph.from_structure(alanine, 4.0)).shape[0] == len(alanine)
