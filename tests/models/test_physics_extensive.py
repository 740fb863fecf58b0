"""Energies of parts: lone atoms, far fragments, repeated cells."""

import numpy as np
import pytest
import torch

from equitensor import testing


def test_an_isolated_atom_has_its_e0_exactly(trained_model, evaluate, make_structure):
    for z, e0 in zip(trained_model.elements, trained_model.e0s.tolist(), strict=True):
        for cell in (None, 20 * np.eye(3)):
            out = evaluate(trained_model, make_structure([z], [[0.1, 0.2, 0.3]], cell))
            assert out["energy"].tolist() == [e0]
            assert out["energies"].tolist() == [e0]
            assert out["forces"].tolist() == [[0.0, 0.0, 0.0]]
            assert cell is None or not out["stress"].any()


def test_two_far_fragments_add_up(trained_model, evaluate, make_structure, alanine):
    water = make_structure([8, 1, 1], [[0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.55, 0.1]])
    shifted = water.pos + np.array([alanine.pos[:, 0].max() + trained_model.cutoff + 0.9, 0, 0])
    both = make_structure(np.append(alanine.z, water.z), np.vstack([alanine.pos, shifted]))
    parts, whole = evaluate(trained_model, alanine, water), evaluate(trained_model, both)
    torch.testing.assert_close(whole["energy"][0], parts["energy"].sum(), rtol=1e-14, atol=0)
    torch.testing.assert_close(whole["energies"], parts["energies"], rtol=1e-14, atol=0)
    torch.testing.assert_close(whole["forces"], parts["forces"], rtol=0, atol=1e-11)


CELLS = {
    "triclinic": [[1.9, 0.1, -0.2], [0.5, 2.0, 0.2], [-0.3, 0.6, 1.8]],
    "fcc": [[0, 1.3, 1.3], [1.3, 0, 1.3], [1.3, 1.3, 0]],
    "left-handed": [[0.5, 2.0, 0.2], [1.9, 0.1, -0.2], [-0.3, 0.6, 1.8]],
}


@pytest.mark.parametrize("lattice", CELLS)
def test_a_cell_of_one_atom_is_its_supercell(trained_model, evaluate, make_structure, lattice):
    cell = np.array(CELLS[lattice])
    corners = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)])
    small = evaluate(trained_model, make_structure([6], [[0.3, -0.1, 0.2]], cell))
    large = evaluate(trained_model, make_structure([6] * 8, corners @ cell + np.array([0.3, -0.1, 0.2]), 2 * cell))
    torch.testing.assert_close(large["energies"], small["energies"].expand(8), rtol=1e-12, atol=0)
    assert small["forces"].abs().max() < 1e-10  # a lattice of inversion centres
    assert large["forces"].abs().max() < 1e-10
    assert small["stress"].abs().max() > 0.01
    testing.assert_close(large["stress"], small["stress"], 1e-10, "stress of the supercell")


def test_a_crystal_is_its_supercell(trained_model, evaluate, make_structure, crystal):
    corners = np.array([[i, j, k] for i in range(2) for j in range(1) for k in range(2)])
    pos = (crystal.pos[None] + (corners @ crystal.cell)[:, None]).reshape(-1, 3)
    supercell = make_structure(np.tile(crystal.z, 4), pos, crystal.cell * [[2], [1], [2]])
    small, large = evaluate(trained_model, crystal), evaluate(trained_model, supercell)
    testing.assert_close(large["energy"], 4 * small["energy"], 1e-12)
    testing.assert_close(large["forces"], small["forces"].repeat(4, 1), 1e-10)
    testing.assert_close(large["stress"], small["stress"], 1e-10)
