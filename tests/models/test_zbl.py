"""The short-range repulsion: its value, its smooth end, and what it does to a potential."""

import copy
import math

import numpy as np
import pytest
import torch

from equitensor import models, testing
from equitensor.models.zbl import ZBL
from equitensor.ops.radial import envelope


def pair_energy(z, distance):
    """E of a pair and its derivative from the module, eV and eV/Angstrom."""
    d = torch.tensor([distance, distance], dtype=torch.float64, requires_grad=True)
    edges = torch.tensor([[0, 1], [1, 0]])
    energy = ZBL()(torch.tensor(z), edges, d).sum()
    return float(energy.detach()), float(torch.autograd.grad(energy, d)[0].sum())


def screened_coulomb(z1, z2, d):
    """The formula of the universal potential, written anew."""
    a = 0.46850 / (z1**0.23 + z2**0.23)  # 0.8854 Bohr radii
    terms = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
    return 14.39964 * z1 * z2 / d * sum(c * math.exp(-e * d / a) for c, e in terms)


@pytest.mark.parametrize("z", [(1, 1), (6, 8), (26, 8)])
def test_it_is_the_universal_potential_at_short_range(z):
    energy, derivative = pair_energy(z, 0.1)
    assert energy == pytest.approx(screened_coulomb(*z, 0.1), rel=1e-3)
    assert derivative < 0


def test_it_ends_smoothly_at_the_sum_of_the_covalent_radii():
    end = 0.76 + 0.66  # C and O
    assert pair_energy((6, 8), end + 1e-6) == (0.0, 0.0)
    energy, derivative = pair_energy((6, 8), end - 1e-3)
    assert 0 < energy < 1e-6  # of third order in the distance from the end
    assert -1e-3 < derivative < 0


@pytest.fixture
def walled(trained_model):
    model = copy.deepcopy(trained_model)
    model.zbl = ZBL()
    return model


def test_atoms_out_of_its_reach_do_not_feel_it(trained_model, walled, evaluate, make_structure):
    apart = make_structure([6, 8, 1], [[0, 0, 0], [1.7, 0, 0], [0, 1.4, 0]])
    plain, with_wall = evaluate(trained_model, apart), evaluate(walled, apart)
    assert torch.equal(with_wall["energy"], plain["energy"])
    assert torch.equal(with_wall["forces"], plain["forces"])


def test_a_wall_is_added_and_felt_by_the_forces(trained_model, walled, evaluate, make_structure):
    close = make_structure([6, 8, 1], [[0, 0, 0], [0.3, 0, 0.1], [0.9, 1.0, 0]])
    difference = evaluate(walled, close)["energy"] - evaluate(trained_model, close)["energy"]
    d = float(np.linalg.norm(close.pos[1]))
    assert float(difference) == pytest.approx(
        screened_coulomb(6, 8, d) * float(envelope(torch.tensor(d / 1.42))), rel=1e-3
    )
    # So near, the trained model extrapolates: its hidden layers turn within 1e-3 Angstrom.
    testing.assert_forces_match_finite_differences(testing.predictor(walled), close, step=1e-4)


def test_the_config_turns_it_on(fresh_model):
    assert fresh_model().zbl is None
    assert isinstance(fresh_model(zbl=True).zbl, ZBL)


def test_it_ends_at_the_cutoff_where_that_is_below_the_sum_of_the_radii(evaluate, make_structure):
    """Two Cs (radii 2.44 Angstrom): edges end at 4 Angstrom, and so must the wall."""
    settings = {"cutoff": 4.0, "channels": 4, "lmax": 1, "layers": 1, "zbl": True}
    model = models.build(settings, (55,), {55: -2.0}).double().eval()
    isolated = -4.0

    def pair(d):
        out = evaluate(model, make_structure([55, 55], [[0, 0, 0], [d, 0, 0]]))
        return float(out["energy"]) - isolated, float(out["forces"].abs().max())

    assert pair(4.0 + 1e-9) == (0.0, 0.0)
    energy, force = pair(4.0 - 1e-3)
    assert abs(energy) < 1e-6
    assert force < 1e-3
    assert pair(3.0)[0] > 0.1


def test_a_cutoff_beyond_the_radii_changes_nothing():
    z, edges = torch.tensor([26, 8]), torch.tensor([[0, 1], [1, 0]])
    d = torch.full((2,), 1.1, dtype=torch.float64)
    assert torch.equal(ZBL(4.0)(z, edges, d), ZBL()(z, edges, d))
