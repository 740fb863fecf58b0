"""The page on simulations: its commands run, its code runs, its table is what the checks say."""

import copy
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian, FixCom, FixedLine, FixedPlane, FixScaled, Hookean

import equitensor
from equitensor import models
from equitensor.cli import main
from equitensor.errors import InputError
from equitensor.graph import AtomicGraph, neighbor_list
from equitensor.interfaces.constraints import check_cell_relaxation, check_dynamics
from equitensor.interfaces.trajectory import fit_constraints

PAGE = Path(__file__).resolve().parents[2] / "docs" / "simulations.md"


def code(*starts):
    return [line[4:] for line in PAGE.read_text().splitlines() if line.startswith(tuple("    " + s for s in starts))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"cutoff": 4.0, "channels": 4, "lmax": 1, "layers": 1}
    models.save(models.build(settings, (6,), {6: -1.0}), tmp_path / "model.eqt")
    ase.io.write("POSCAR", bulk("C", cubic=True), format="vasp")
    ase.io.write("molecule.xyz", Atoms("C2", [[0, 0, 0], [0, 0, 1.3]]))
    return tmp_path


def test_the_commands_run(folder, capsys):
    commands = [command for command in code("equitensor ") if "phonons" not in command and "--d3" not in command]
    assert len(commands) == 3
    for command in commands:
        assert main(command.split()[1:]) == 0, capsys.readouterr().err
    assert ase.io.read("POSCAR-md.traj", format="traj").info["step"] == 40


def test_the_phonons_are_drawn(folder, capsys):
    pytest.importorskip("phonopy", reason="needs phonopy: pip install equitensor[phonons]")
    (command,) = code("equitensor phonons")
    assert main(command.split()[1:]) == 0, capsys.readouterr().err
    assert Path("POSCAR-bands.png").is_file()


def test_dispersion_is_added(folder, capsys):
    pytest.importorskip("dftd3", reason="needs dftd3: pip install equitensor[d3]")
    (line,), (command,) = code('calc = equitensor.Calculator("model.eqt", d3'), code("equitensor md model.eqt crystal")
    names = {"equitensor": equitensor}
    exec(line, names)
    assert names["calc"].d3 is not None
    ase.io.write("crystal.extxyz", bulk("C", cubic=True))
    assert main([word.replace("1000", "2") for word in command.split()[1:]]) == 0, capsys.readouterr().err


def test_the_code_runs(folder):
    atoms = bulk("C", cubic=True)
    edge_index, shift, _ = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 4.0)
    names = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array, "pbc": atoms.pbc}
    names |= {"edge_index": edge_index[:, ::-1].copy(), "shift": shift[::-1].copy()}
    names |= {"atoms": atoms, "equitensor": equitensor, "copy": copy, "AtomicGraph": AtomicGraph}
    lines = [line for line in code("calc", "hessian", "graph", "energy") if "d3=" not in line]
    assert len(lines) == 5
    exec("\n".join(lines), names)
    assert names["hessian"].shape == (24, 24)
    assert float(names["energy"]) == pytest.approx(names["calc"].get_potential_energy(atoms), abs=1e-4)


CONSTRAINTS = {
    "`FixAtoms`": FixAtoms([0]),
    "`FixScaled` (POSCAR)": FixScaled([0], (False, False, True)),
    "`FixCartesian`": FixCartesian([0], (False, False, True)),
    "`FixedPlane`, `FixedLine`": FixedPlane([0], (1, 1, 1)),
    "`FixBondLengths`": FixBondLengths([(0, 1)]),
    "`FixCom`": FixCom(),
    "`Hookean`": Hookean(0, (0.0, 0.0, 0.0), 5.0, 0.0),
}


@pytest.mark.parametrize("row", CONSTRAINTS)
def test_the_table_is_what_the_checks_say(row):
    cells = next(line.split(" | ")[1:] for line in PAGE.read_text().splitlines() if line.startswith(f"| {row} | "))
    atoms = bulk("C") * 2
    atoms.set_constraint(CONSTRAINTS[row])

    def allowed(check, *arguments):
        try:
            return not check(atoms.copy(), *arguments)
        except InputError:
            return False

    dynamics = [allowed(check_dynamics, ensemble) for ensemble in ("nve", "nvt", "npt")]
    assert dynamics == [cells[0] == "yes"] * 2 + [cells[1] == "yes"]
    assert allowed(check_cell_relaxation) == cells[3].startswith("yes")
    assert allowed(fit_constraints, "x.extxyz") == (cells[5] == "yes |")
    if cells[5].startswith("along the axes"):
        atoms.set_cell(np.diag([3.0, 4.0, 5.0]))
        atoms.set_constraint([CONSTRAINTS["`FixScaled` (POSCAR)"], FixedLine([1], (0, 1, 0))])
        assert allowed(fit_constraints, "x.extxyz")
