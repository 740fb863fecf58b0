"""Models of the compiled evaluator, opened, and structures evaluated with neighbours of our own making."""

import numpy as np
from evaluator_cases import random_potential

from equitensor import models
from equitensor.graph import neighbor_list
from equitensor.interfaces.evaluator import Model, System

DEEP = ({"layers": 3}, {"layers": 3, "normalized": True, "repulsion": True})


def opened(folder, **settings) -> Model:
    """The file of such a potential, open."""
    models.save(random_potential(**settings), folder / "model.eqt")
    return Model(folder / "model.eqt")


def listed(model, atoms, skin=0.0):
    """start, sender and shift (Angstrom) of the neighbours."""
    (sender, receiver), shift, _ = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, model.cutoff + skin)
    start = np.concatenate([[0], np.cumsum(np.bincount(receiver, minlength=len(atoms)))])
    return start, sender, shift @ atoms.cell.array


def evaluated(model, atoms, skin=0.0, precision="float64", threads=1, instructions=None):
    start, sender, shift = listed(model, atoms, skin)
    system = System(model, precision, threads, instructions)
    system.set_neighbors(atoms.numbers, start, sender)
    return system.evaluate(atoms.positions, shift, virials=True, features=True)
