"""What counts in the loss: labels that exist, atoms that move, structures by their weight."""

import numpy as np
import pytest
import torch

from equitensor.graph import AtomicGraph, Structure
from equitensor.training.loss import loss, residuals

WEIGHTS = {"forces": 100.0, "energy": 2.0, "stress": 5.0}


def labelled(n, periodic=False, **labels):
    rng = np.random.default_rng(n)
    cell, pbc = (5 * np.eye(3), np.ones(3, bool)) if periodic else (np.zeros((3, 3)), np.zeros(3, bool))
    return Structure(z=np.full(n, 6), pos=4 * rng.random((n, 3)), cell=cell, pbc=pbc, **labels)


def batch(*structures):
    return AtomicGraph.collate([AtomicGraph.from_structure(s, 3.0) for s in structures])


def off_by(graph, energy=0.0, forces=0.0, stress=0.0):
    """Predictions that miss the labels by these amounts, and are 0 where there is no label."""
    return {
        "energy": torch.nan_to_num(graph.energy) + energy,
        "forces": torch.nan_to_num(graph.forces) + forces,
        "stress": torch.nan_to_num(graph.stress) + stress,
    }


def test_the_formula():
    graph = batch(
        labelled(4, energy=-3.0, forces=np.ones((4, 3))),
        labelled(2, True, energy=1.0, forces=np.zeros((2, 3)), stress=np.eye(3)),
    )
    errors = residuals(off_by(graph, energy=0.4, forces=0.1, stress=0.2), graph)
    virial = 0.2 * 5**3 / 2  # of two atoms in a cube of 5 Angstrom
    expected = 100 * 0.1**2 + 2 * (0.1**2 + 0.2**2) / 2 + 5 * virial**2
    assert float(loss(errors, WEIGHTS)) == pytest.approx(expected, rel=1e-12)


def test_missing_labels_do_not_count():
    graph = batch(
        labelled(4, energy=-3.0),
        labelled(2, forces=np.zeros((2, 3))),
        labelled(3, True, stress=np.eye(3)),
        labelled(2),
    )
    errors = residuals(off_by(graph, energy=0.4, forces=0.1, stress=0.2), graph)
    assert [errors[name].shape for name in ("energy", "forces", "stress")] == [(1,), (2, 3), (1, 9)]
    assert float(loss(errors, WEIGHTS)) == pytest.approx(100 * 0.01 + 2 * 0.01 + 5 * (0.2 * 5**3 / 3) ** 2, rel=1e-12)


def test_fixed_atoms_do_not_count():
    forces = np.zeros((3, 3))
    graph = batch(labelled(3, forces=forces, fixed=np.array([True, False, True])))
    prediction = off_by(graph)
    prediction["forces"] = torch.tensor([[9.0] * 3, [0.5] * 3, [9.0] * 3], dtype=torch.float64)
    assert float(loss(residuals(prediction, graph), WEIGHTS)) == pytest.approx(100 * 0.25)


def test_structures_count_by_their_weight():
    graph = batch(labelled(2, energy=0.0, weight=3.0), labelled(2, energy=0.0, weight=0.0))
    prediction = off_by(graph)
    prediction["energy"] = torch.tensor([0.2, 50.0], dtype=torch.float64)
    assert float(loss(residuals(prediction, graph), WEIGHTS)) == pytest.approx(2 * 3 * 0.01 / 2)


def test_gradients_of_masked_labels_are_zero():
    graph = batch(labelled(2, energy=1.0), labelled(2))
    prediction = {"energy": torch.zeros(2, dtype=torch.float64, requires_grad=True)}
    loss(residuals(prediction, graph), WEIGHTS).backward()
    assert prediction["energy"].grad.tolist() == [-1.0, 0.0]


def test_nothing_labelled_is_no_tensor():
    graph = batch(labelled(2))
    assert loss(residuals(off_by(graph), graph), WEIGHTS) == 0.0


def test_forces_far_off_count_linearly():
    """Value and derivative go over smoothly at the limit; a force that is exact has a finite gradient."""
    graph = batch(labelled(3, forces=np.zeros((3, 3))))
    error = torch.tensor([[0.0, 0, 0], [0.3, 0.4, 0], [3.0, 4.0, 0]], dtype=torch.float64, requires_grad=True)
    value = loss(residuals({**off_by(graph), "forces": graph.forces + error}, graph), WEIGHTS, limits={"forces": 1.0})
    assert float(value.detach()) == pytest.approx(100 * (0 + 0.5**2 + (2 * 5 - 1)) / 9)
    (gradient,) = torch.autograd.grad(value, error)
    expected = torch.tensor([[0.0, 0, 0], [0.6, 0.8, 0], [1.2, 1.6, 0]], dtype=torch.float64) * 100 / 9
    torch.testing.assert_close(gradient, expected)


def test_each_label_has_a_limit_of_its_own():
    graph = batch(labelled(2, True, energy=1.0, stress=np.zeros((3, 3))))
    errors = residuals(off_by(graph, energy=4.0, stress=0.01), graph)
    virial = 3 * 0.01 * 5**3 / 2  # the norm of nine components
    limits = {"energy": 0.5, "stress": 0.2}
    expected = 2 * (2 * 0.5 * 2.0 - 0.5**2) + 5 * (2 * 0.2 * virial - 0.2**2) / 9
    assert float(loss(errors, WEIGHTS, limits)) == pytest.approx(expected, rel=1e-12)
