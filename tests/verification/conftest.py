"""Structures on which calculators are judged."""

import numpy as np
import pytest
from ase.build import bulk, molecule


@pytest.fixture(scope="session")
def copper():
    """Two atoms in a cell smaller than the cutoff."""
    return bulk("Cu", "fcc", a=3.6).repeat((2, 1, 1))


@pytest.fixture(scope="session")
def gold_copper():
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[0] = "Au"
    return atoms


@pytest.fixture(scope="session")
def methanol():
    return molecule("CH3OH")


@pytest.fixture(scope="session")
def cluster():
    """Seven atoms of copper, nothing periodic."""
    atoms = bulk("Cu", cubic=True, a=3.6).repeat(2)[:7]
    atoms.pbc, atoms.cell = False, np.zeros((3, 3))
    return atoms
