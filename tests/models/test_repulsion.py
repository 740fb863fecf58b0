"""The repulsion below the distances of the training data: where it begins, what the backbone sees of it."""

import numpy as np
import pytest
import torch

from equitensor import models, testing
from equitensor.errors import InputError
from equitensor.models.zbl import screened_coulomb

ELEMENTS, BEGIN = (1, 8), 0.875  # a number of float32
SETTINGS = {"cutoff": 4.0, "channels": 8, "edge_channels": 8, "lmax": 2, "layers": 2}


@pytest.fixture
def potentials():
    """(without, with) repulsion between O and H from 0.875 Angstrom on, equal otherwise."""
    pair = [
        models.build(SETTINGS | more, ELEMENTS, {1: -1.0, 8: -2.0}, shift=-1.0).double().eval()
        for more in ({}, {"repulsion": True})
    ]
    pair[1].repulsion.set_begins(torch.tensor([[0.625, BEGIN], [BEGIN, 1.125]]))
    return pair


def water(make_structure, d):
    return make_structure([8, 1, 1], [[0, 0, 0], [d, 0, 0], [-0.4, 1.0, 0.2]])


def test_nothing_changes_at_distances_that_data_have(potentials, evaluate, make_structure):
    plain, repelling = (evaluate(model, water(make_structure, BEGIN + 1e-9)) for model in potentials)
    for name, value in plain.items():
        assert torch.equal(repelling[name], value), name


def test_below_them_the_backbone_rests_and_pairs_repel(potentials, evaluate, make_structure):
    plain, repelling = potentials
    d = 0.5 * BEGIN
    pair = 2 * screened_coulomb(*(torch.tensor([x], dtype=torch.float64) for x in (8, 1, d, BEGIN)))
    alone = make_structure([8, 1], [[0, 0, 0], [d, 0, 0]])
    rest = make_structure([8, 1], [[0, 0, 0], [BEGIN * 0.95, 0, 0]])
    out = float(evaluate(repelling, alone)["energy"] - pair)
    assert out == pytest.approx(float(evaluate(plain, rest)["energy"]), abs=1e-7)
    assert float(evaluate(repelling, alone)["forces"][1, 0]) > 20  # outwards


@pytest.mark.parametrize("d", [0.3, 0.82, 0.874])
def test_forces_and_stress_are_derivatives(potentials, make_structure, d):
    structure = water(make_structure, d).replace(cell=5 * np.eye(3), pbc=np.ones(3, dtype=bool))
    predict = testing.predictor(potentials[1])
    testing.assert_forces_match_finite_differences(predict, structure, step=1e-5)
    testing.assert_stress_matches_finite_differences(predict, structure)


def test_a_file_keeps_where_it_begins_in_either_precision(potentials, evaluate, make_structure, tmp_path):
    _, model = potentials
    begins = model.repulsion.begins.clone()
    close = water(make_structure, 0.6)
    expected = evaluate(model, close)["energy"]
    models.save(model.float(), tmp_path / "single.eqt")
    models.save(model.double(), tmp_path / "double.eqt")
    for name in ("single", "double"):
        loaded = models.load(tmp_path / f"{name}.eqt", dtype=torch.float64)
        assert torch.equal(loaded.repulsion.begins, begins)
        assert torch.equal(evaluate(loaded, close)["energy"], expected)


def test_further_elements_begin_at_their_radii_and_known_ones_stay(potentials):
    _, model = potentials
    more = models.extended(model, {1: -1.0, 6: 0.0, 8: -2.0})
    begins = more.repulsion.begins
    assert torch.equal(begins[[0, 0, 2], [0, 2, 2]], model.repulsion.begins[[0, 0, 1], [0, 1, 1]])
    assert float(begins[1, 1]) == pytest.approx(0.8 * 2 * 0.76)


def test_it_takes_the_place_of_zbl():
    with pytest.raises(InputError, match=r"leave model\.zbl out"):
        models.build(SETTINGS | {"repulsion": True, "zbl": True}, (1,), {1: 0.0})
