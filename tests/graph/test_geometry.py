"""Positions and cells that no model can be asked about are refused with a sentence, all others are not."""

import tracemalloc

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule

from equitensor.data.checks import check_structure
from equitensor.errors import InputError
from equitensor.graph import Structure, check_geometry, neighbor_list


def arrays(atoms):
    return atoms.positions, atoms.cell.array, atoms.pbc


def changed_cell(cell, atoms=None):
    atoms = (atoms or bulk("Cu")).copy()
    atoms.cell[:] = cell
    return atoms


def protein_in_a_placeholder():
    atoms = molecule("CH3CH2OH")
    atoms.cell[:], atoms.pbc = np.eye(3), True
    return atoms


REFUSED = {
    "a zero vector": (changed_cell([[3, 0, 0], [0, 3, 0], [0, 0, 0]]), "no lattice vector"),
    "dependent vectors": (changed_cell([[3, 0, 0], [0, 3, 0], [3, 3, 0]]), "does not span"),
    "parallel vectors of a slab": (changed_cell([[3, 0, 0], [6, 0, 0], [0, 0, 0]], fcc111("Al", (2, 1, 2))), "span"),
    "NaN in the cell": (changed_cell([[3, 0, 0], [0, np.nan, 0], [0, 0, 3]]), "cell .* not finite"),
    "NaN in the cell of a molecule": (changed_cell(np.full((3, 3), np.nan), molecule("H2O")), "cell .* not finite"),
    "CRYST1 1 1 1": (protein_in_a_placeholder(), "looks like a placeholder"),
    "an atom beyond all bounds": (Atoms("H2", [[0, 0, 0], [1e12, 0, 0]]), r"atom 1 is 1e\+12 Angstrom"),
    "a position that is none": (Atoms("H2", [[0, 0, 0], [np.inf, 0, 0]]), "atom 1 is not finite"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_searches_and_checks(name):
    atoms, message = REFUSED[name]
    for check in (check_geometry, lambda *given: neighbor_list(*given, 4.0)):
        with pytest.raises(InputError, match=message):
            check(*arrays(atoms))
    with pytest.raises(InputError, match=r"a\.xyz, frame 3: "):
        check_structure(Structure.from_ase(atoms, source="a.xyz, frame 3"))


def skewed():
    return bulk("NaCl", "rocksalt", a=5.6) * (3, 3, 3)


@pytest.mark.parametrize("build", [skewed, lambda: graphene(size=(3, 3, 1)), lambda: molecule("C6H6")])
def test_atoms_in_one_place_are_found_through_the_cell(build):
    atoms = build()
    check_geometry(*arrays(atoms))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        i, j = sorted(rng.choice(len(atoms), 2, replace=False))
        twin, direction = atoms.copy(), rng.normal(size=3)
        cells = np.where(atoms.pbc, rng.integers(-2, 3, 3), 0) @ atoms.cell.array
        direction *= 1e-3 / np.linalg.norm(direction)
        twin.positions[j] = twin.positions[i] + cells + 0.9 * direction
        with pytest.raises(InputError, match=rf"atoms {i} and {j} are in the same place"):
            check_geometry(*arrays(twin))
        twin.positions[j] = twin.positions[i] + cells + 1.1 * direction
        check_geometry(*arrays(twin))


def test_memory_grows_with_the_atoms_not_with_their_pairs():
    atoms = bulk("Si", cubic=True) * (6, 6, 6)
    tracemalloc.start()
    check_geometry(*arrays(atoms))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(atoms) == 1728 and peak < 2e6  # all pairs would take 24 MB a component


def test_dense_and_empty_structures_pass():
    check_geometry(*arrays(bulk("H", "sc", a=1.0)))  # metallic hydrogen at some 500 GPa
    check_geometry(*arrays(Atoms()))
    check_geometry(*arrays(Atoms("C", cell=[0, 0, 1.27], pbc=[False, False, True])))
