"""`equitensor vibrations` as a user calls it."""

import json

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.constraints import FixAtoms, FixBondLengths

from equitensor.cli import main
from equitensor.interfaces import Calculator, relax, vibrations


def vibrate(model_file, *arguments):
    return main(["vibrations", str(model_file), *arguments, "--device", "cpu"])


def test_the_table_and_the_file_say_the_same_and_a_structure_not_relaxed_is_told(model_file, folder, capsys):
    assert vibrate(model_file, "molecule.xyz", "--json", "modes.json") == 0
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "molecule.xyz is not relaxed, its largest force is" in captured.err
    atoms = ase.io.read("molecule.xyz")
    expected = vibrations(Calculator(model_file, "cpu", "float64"), atoms)
    written = json.loads((folder / "modes.json").read_text())
    signed = [(-1 if mode["imaginary"] else 1) * mode["wavenumber"] for mode in written["modes"]]
    np.testing.assert_allclose(signed, expected.wavenumbers)
    assert written["zero_point_energy"] == pytest.approx(expected.zero_point_energy)
    assert np.shape(written["modes"][0]["displacements"]) == (6, 3)
    rows = [line.split() for line in captured.out.splitlines()[1:19]]
    for row, wavenumber in zip(rows, expected.wavenumbers, strict=True):
        assert row[1].endswith("i") == (wavenumber < 0)
        assert float(row[1].rstrip("i")) == pytest.approx(abs(wavenumber), abs=0.006)
    assert f"zero-point energy {expected.zero_point_energy:.6f} eV" in captured.out


def test_relax_goes_to_the_minimum_first(model_file, folder, capsys):
    assert vibrate(model_file, "molecule.xyz", "--relax", "--fmax", "0.005", "--json", "modes.json") == 0
    captured = capsys.readouterr()
    assert "relaxed after" in captured.out
    assert "not relaxed" not in captured.err
    atoms = ase.io.read("molecule.xyz")
    atoms.calc = Calculator(model_file, "cpu", "float64")
    relax(atoms, 0.005)
    np.testing.assert_allclose(json.loads((folder / "modes.json").read_text())["positions"], atoms.positions)
    assert vibrate(model_file, "molecule.xyz", "--relax", "--steps", "1", "--fmax", "1e-6") == 1
    assert "NOT relaxed after 1 steps" in capsys.readouterr().out


def test_held_atoms_do_not_vibrate(model_file, folder, capsys):
    atoms = molecule("CH3OH")
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    atoms.write("held.extxyz")
    assert vibrate(model_file, "held.extxyz") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.split()[0].isdigit() for line in lines[1:]) >= 9
    assert lines[10].startswith("zero-point energy")


def test_what_is_wrong_is_one_line(model_file, folder, capsys):
    atoms = molecule("CH3OH")
    atoms.set_constraint(FixBondLengths([(0, 1)]))
    atoms.write("bonds.traj")
    for arguments, message in (
        (["bonds.traj"], "bonds.traj: vibrations cannot hold FixBondLengths"),
        (["silane.xyz"], "silane.xyz: the structure holds Si"),
        (["molecule.xyz", "--relax", "--fmax", "0"], "fmax is 0.0"),
        (["nothing.xyz"], "nothing.xyz: no such file"),
    ):
        assert vibrate(model_file, *arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
