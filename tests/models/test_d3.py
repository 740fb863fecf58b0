"""D3 by the package dftd3: its values are those of its own ASE calculator."""

import pickle
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.models import D3


def structure(atoms):
    return Structure(atoms.numbers.astype(np.int64), atoms.positions, atoms.cell.array, atoms.pbc)


def slab():
    return fcc111("Cu", (2, 2, 2), vacuum=8.0)


CASES = {
    "molecule": lambda: molecule("CH3CH2OH"),
    "crystal": lambda: bulk("NaCl", "rocksalt", a=5.6, cubic=True),
    "skewed": lambda: bulk("Cu"),
    "slab": slab,
}


@pytest.mark.parametrize("damping", ["bj", "zero"])
@pytest.mark.parametrize("name", CASES)
def test_the_numbers_of_ases_calculator(name, damping):
    ase = pytest.importorskip("dftd3.ase")
    atoms = CASES[name]()
    atoms.rattle(0.05, seed=1)
    atoms.calc = ase.DFTD3(method="PBE", damping=f"d3{damping}")
    d3 = D3(f"PBE-{damping}")
    dispersion = d3.compute(structure(atoms), bool(atoms.pbc.all()))
    assert dispersion.energy == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    assert abs(dispersion.energy) > 0.02
    np.testing.assert_allclose(dispersion.forces, atoms.get_forces(), atol=1e-12)
    assert d3.energies(structure(atoms)).sum() == pytest.approx(dispersion.energy, rel=1e-10)
    if atoms.pbc.all():
        np.testing.assert_allclose(dispersion.stress, atoms.get_stress(voigt=False), atol=1e-14)


def no_vector(atoms):
    atoms.cell[2] = 0


def sticks_out(atoms):
    atoms.positions[:, 2] -= 9  # the package takes these atoms for parts of two slabs


def leans(atoms):
    atoms.cell[2] = [3, 1, -18]


@pytest.mark.parametrize("change", [no_vector, sticks_out, leans])
def test_a_direction_that_is_not_periodic_has_no_say(change):
    pytest.importorskip("dftd3")
    atoms = slab()
    atoms.rattle(0.05, seed=1)
    expected = D3("pbe-bj").compute(structure(atoms), stress=False)
    change(atoms)
    dispersion = D3("pbe-bj").compute(structure(atoms), stress=False)
    assert dispersion.energy == pytest.approx(expected.energy, rel=1e-12)
    np.testing.assert_allclose(dispersion.forces, expected.forces, atol=1e-12)


def test_a_wire_is_a_long_row_of_molecules():
    pytest.importorskip("dftd3")
    wire = molecule("C2H6", cell=[4.0, 0, 0], pbc=[True, False, False])
    dispersion = D3("pbe-bj").compute(structure(wire), stress=False)
    alone = [unperiodic(wire, n) for n in (40, 41)]
    assert dispersion.energy == pytest.approx(alone[1] - alone[0], rel=1e-6)


def unperiodic(wire, copies):
    row = wire.repeat((copies, 1, 1))
    row.pbc, row.cell = False, None
    return D3("pbe-bj").compute(structure(row), stress=False).energy


def test_copies_and_processes_keep_it():
    pytest.importorskip("dftd3")
    d3 = D3("b3lyp-zero")
    water = structure(molecule("H2O"))
    assert pickle.loads(pickle.dumps(d3)).compute(water).energy == d3.compute(water).energy


def test_what_the_package_does_not_know():
    pytest.importorskip("dftd3")
    with pytest.raises(InputError, match="'nosuch-bj', which the package dftd3 does not know"):
        D3("nosuch-bj")
    heavy = structure(Atoms("Rf2", [[0, 0, 0], [0, 0, 3]]))  # for which it says nothing and gives zeros
    with pytest.raises(InputError, match=r"train.xyz, frame 3: d3 has no parameters for Rf"):
        D3("pbe-bj").compute(heavy.replace(source="train.xyz, frame 3"))


@pytest.mark.parametrize("name", ["pbe", "bj", "-bj", "pbe-b", "", 3])
def test_names_that_are_none(name):
    with pytest.raises(InputError, match="name a functional and its damping"):
        D3(name)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "dftd3", None)
    with pytest.raises(InputError, match=r"pip install equitensor\[d3\]"):
        D3("pbe-bj")
