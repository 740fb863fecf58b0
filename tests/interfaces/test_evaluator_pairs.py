"""Splines of pairs of elements: those that come later may ask for finer ones, again and again."""

import pytest
import torch
from ase import Atoms

from equitensor import models
from equitensor.interfaces import Calculator
from equitensor.interfaces.evaluator_library import why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason="no compiled evaluator")


def test_later_elements_ask_for_finer_splines_twice(tmp_path):
    elements = (1, 6, 8, 14)
    settings = {"cutoff": 4.0, "channels": 8, "edge_channels": 8, "lmax": 1}
    potential = models.build(settings, elements, dict.fromkeys(elements, 0.0))
    embedding = potential.backbone.embedding
    with torch.no_grad():  # silu bends where its argument, the radial part plus that of the elements, changes sign
        embedding.radial *= 30.0
        for row, shift in enumerate((-100.0, -40.0, -20.0, 0.1)):
            embedding.sender.weight[row] = embedding.receiver.weight[row] = shift
    models.save(potential, tmp_path / "model.eqt")
    core, exact = (
        Calculator(tmp_path / "model.eqt", backend=b, dtype=d) for b, d in (("core", "float32"), ("torch", "float64"))
    )
    for z in elements:
        atoms = Atoms([z] * 3, [[0, 0, 0], [0, 0, 1.5], [0, 1.4, 0.2]])
        energies = [calculator.get_potential_energy(atoms) for calculator in (core, exact)]
        assert energies[0] == pytest.approx(energies[1], rel=2e-5, abs=1e-5)
