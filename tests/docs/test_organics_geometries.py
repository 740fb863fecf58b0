"""datasets/organics/geometries.py: hydrogens on their way from one atom to another."""

import importlib
from pathlib import Path

import numpy as np
import pytest

RECIPE = Path(__file__).resolve().parents[2] / "datasets" / "organics"


@pytest.fixture
def geometries(monkeypatch):
    pytest.importorskip("rdkit")
    monkeypatch.syspath_prepend(str(RECIPE))
    return importlib.import_module("geometries")


def test_a_transfer_moves_one_hydrogen_along_a_line_to_the_other_atom(geometries):
    mol = geometries.conformers("OC=CC=O", 1, 0)  # malonaldehyde, in some conformer
    x = mol.GetConformer(0).GetPositions()
    oxygens = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() == 8]
    hydrogen = next(a.GetIdx() for i in oxygens for a in mol.GetAtomWithIdx(i).GetNeighbors() if a.GetAtomicNum() == 1)
    donor = mol.GetAtomWithIdx(hydrogen).GetNeighbors()[0].GetIdx()
    other = next(i for i in oxygens if i != donor)
    x[other] = x[hydrogen] + [1.8, 0, 0]  # as in a hydrogen bond
    between, arrived = geometries.transferred(mol, x, np.random.default_rng(0))
    for moved in (between, arrived):
        assert np.flatnonzero((moved != x).any(axis=1)).tolist() == [hydrogen]
        assert np.cross(moved[hydrogen] - x[hydrogen], x[other] - x[hydrogen]) == pytest.approx(np.zeros(3), abs=1e-9)
    assert np.linalg.norm(arrived[hydrogen] - x[other]) == pytest.approx(geometries.BONDS_TO_H[8])
    steps = [np.linalg.norm(moved[hydrogen] - x[hydrogen]) for moved in (between, arrived)]
    assert 0.2 * steps[1] <= steps[0] <= steps[1]


def test_without_a_polar_hydrogen_there_is_no_transfer(geometries):
    mol = geometries.conformers("CC(=O)C", 1, 0)
    assert geometries.transferred(mol, mol.GetConformer(0).GetPositions(), np.random.default_rng(0)) is None


def test_a_hydrogen_that_would_pass_too_close_to_another_atom_stays(geometries):
    mol = geometries.conformers("OO", 1, 0)
    x = np.array(
        [[0.0, 0, 0], [2.5, 0, 0], [0.97, 0, 0], [1.7, 0.7, 0]]
    )  # O, O, and the H of each, in the way of the other
    assert all(geometries.transferred(mol, x, np.random.default_rng(seed)) is None for seed in range(5))
