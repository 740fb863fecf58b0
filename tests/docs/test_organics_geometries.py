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
    mol = geometries.side_by_side(
        [geometries.conformers("O", 1, 0), geometries.conformers("O", 1, 0)], np.random.default_rng(0)
    )
    order = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    assert order == [8, 1, 1, 8, 1, 1]

    def way(height):
        """Two waters, the first pointing at the second, of which a hydrogen is this far from the line."""
        x = np.array([[0, 0, 0], [1, 0, 0], [-0.3, 0.9, 0], [2.7, 0, 0], [1.9, height, 0], [3, -0.9, 0]], float)
        return [geometries.transferred(mol, x, np.random.default_rng(seed)) for seed in range(5)]

    assert all(transfer is None for transfer in way(0.6))
    assert all((between[1] != [1, 0, 0]).any() for between, _ in way(1.05))


def test_atoms_that_are_bonded_do_not_exchange_a_hydrogen(geometries):
    mol = geometries.conformers("NN", 1, 0)
    assert geometries.transferred(mol, mol.GetConformer(0).GetPositions(), np.random.default_rng(0)) is None
