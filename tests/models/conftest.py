"""Structures for the physics tests, and the model beside them."""

import ase.io
import numpy as np
import pytest
import torch

from equitensor import models
from equitensor.graph import AtomicGraph, Structure

LATTICE = np.array([[3.1, 0.2, -0.4], [0.7, 3.4, 0.3], [-0.2, 0.9, 2.9]])
SITES = np.array([[0.05, 0.02, 0.0], [0.42, 0.51, 0.08], [0.55, 0.03, 0.52]])


@pytest.fixture(scope="session")
def make_structure():
    """make_structure(numbers, positions, cell=None) -> Structure, periodic where a cell is given."""

    def make(numbers, positions, cell=None) -> Structure:
        return Structure(
            z=np.array(numbers, dtype=np.int64),
            pos=np.array(positions, dtype=np.float64).reshape(-1, 3),
            cell=np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64),
            pbc=np.full(3, cell is not None),
        )

    return make


@pytest.fixture(scope="session")
def evaluate():
    """evaluate(model, structure, ...) -> the model's results for one batch of these structures."""

    def run(model, *structures, **options) -> dict[str, torch.Tensor]:
        graphs = [AtomicGraph.from_structure(s, model.cutoff) for s in structures]
        return model(AtomicGraph.collate(graphs), **options)

    return run


@pytest.fixture(scope="session")
def alanine(alanine_data):
    """A frame of the training set at 300 K."""
    return Structure.from_ase(ase.io.read(alanine_data / "train.xyz", "0"))


@pytest.fixture(scope="session")
def crystal(make_structure):
    """C, O and H in a triclinic cell shorter than the cutoff: atoms meet their own images."""
    return make_structure([6, 8, 1], SITES @ LATTICE, LATTICE)


@pytest.fixture(scope="session")
def fresh_model():
    """fresh_model(**settings) -> an untrained float64 potential of H, C, N and O."""

    def make(seed=0, **settings):
        settings = {"cutoff": 4.0, "channels": 8, "edge_channels": 8, "lmax": 2} | settings
        e0s = {1: -13.0, 6: -1029.0, 7: -1485.0, 8: -2041.0}
        model = models.build(settings, e0s, e0s, scale=1.5, shift=-4.0, seed=seed)
        return model.double().eval()

    return make
