"""Through the cutoff the energy is twice, the forces once continuously differentiable; less is noticed."""

import copy
import math

import numpy as np
import pytest
import torch

from equitensor import testing

# Nothing of E, E' or E'' may jump where the last pair passes the cutoff.
NEAR = (1e-4, 1e-5)  # Angstrom from the cutoff


@pytest.fixture
def model(trained_model):
    """The trained model with a mean interaction energy of the usual size: its E0s were fitted to molecules."""
    model = copy.deepcopy(trained_model)
    model.shift = -4.0
    return model


def energy_and_derivatives(model, make_structure, place, distance):
    """E, E' (from the forces) and E'' (central differences of E') along the path `place(distance)`."""
    predict = testing.predictor(model)

    def derivative(d):
        numbers, pos, direction = place(d)
        out = predict(make_structure(numbers, pos))
        return float(out["energy"]), -float((out["forces"].numpy() * direction).sum())

    step = 1e-6
    energy, first = derivative(distance)
    return energy, first, (derivative(distance + step)[1] - derivative(distance - step)[1]) / (2 * step)


def dimer(distance):
    axis = np.array([[0, 0, 0], [0.48, 0.6, 0.64]])
    return [6, 8], axis * distance, axis


def trimer(distance):
    """The third atom leaves the first; the second stays neighbour of both."""
    direction = np.array([0.6, 0.0, 0.8])
    pos = np.array([[0, 0, 0], [1.6, 0.9, 1.4], direction * distance])
    return [6, 1, 8], pos, np.array([[0, 0, 0], [0, 0, 0], direction])


def jumps(model, make_structure, place):
    """|f(inside) - f(outside)| of E, E', E'' at two distances from the cutoff: (2, 3)."""
    jumps_ = []
    for near in NEAR:
        sides = [energy_and_derivatives(model, make_structure, place, model.cutoff + s * near) for s in (-1, 1)]
        jumps_.append(np.abs(np.subtract(*sides)))
    return np.array(jumps_)


def is_smooth(model, make_structure, place):
    """Continuous: a tenfold nearer pair of points has a jump at least three times smaller, in E, E' and E''."""
    far, near = jumps(model, make_structure, place)
    assert far[2] > 1e-9, "the path feels nothing of the pair: this proves nothing"
    return bool((near < far / 3 + 1e-9).all())


@pytest.mark.parametrize("place", [dimer, trimer])
def test_energy_is_c2_and_forces_are_c1_at_the_cutoff(model, make_structure, place):
    assert is_smooth(model, make_structure, place)
    if place is dimer:
        out = testing.predictor(model)(make_structure(*place(model.cutoff + 1e-9)[:2]))
        assert not out["forces"].any()


def linear(x, p=6):
    return (1 - x) * (x < 1)


def cosine(x, p=6):
    return 0.5 * (1 + torch.cos(math.pi * x)) * (x < 1)


@pytest.mark.parametrize("where, mutant", [("nn.radial_basis", linear), ("models.potential", cosine)])
def test_an_envelope_that_ends_less_smoothly_is_noticed(model, make_structure, monkeypatch, where, mutant):
    monkeypatch.setattr("equitensor.ops.availability.WHY_NOT", "the mutant is in plain torch")
    monkeypatch.setattr(f"equitensor.{where}.envelope", mutant)
    assert not is_smooth(model, make_structure, dimer)
