"""What pictures show of a label and its prediction."""

import numpy as np
import pytest

from equitensor.graph import Structure
from equitensor.graph.labels import ENERGY, FORCES
from equitensor.training.compared import shown, title

WATER = Structure.of(
    z=np.array([8, 1, 1]), pos=np.eye(3), cell=np.zeros((3, 3)), pbc=np.zeros(3, bool), energy=-46.0, forces=np.eye(3)
)
E0S = {1: -13.0, 8: -14.0}


def test_energies_are_shown_without_the_e0s_that_are_given():
    prediction = WATER.replace(energy=-43.0)
    assert [side.item() for side in shown(ENERGY, WATER, prediction)] == pytest.approx([-43 / 3, -46 / 3])
    assert [side.item() for side in shown(ENERGY, WATER, prediction, E0S)] == pytest.approx([-1.0, -2.0])
    assert (title(ENERGY, None), title(ENERGY, E0S)) == ("energy per atom", "energy per atom less E0s")


def test_forces_have_no_e0s():
    predicted, reference = shown(FORCES, WATER, WATER.replace(forces=2 * np.eye(3)), E0S)
    np.testing.assert_array_equal(predicted, 2 * reference)
    assert title(FORCES, E0S) == "forces"
