"""`equitensor phonons` as a user calls it."""

import json
import sys

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms

from equitensor.cli import main


def test_a_band_structure_is_printed_drawn_and_written(model_file, folder, capsys):
    pytest.importorskip("phonopy", reason="needs phonopy: pip install equitensor[phonons]")
    diamond = bulk("C")
    diamond.set_constraint(FixAtoms([0]))
    diamond.write("diamond.traj")
    arguments = ["phonons", str(model_file), "diamond.traj", "--supercell", "2", "2", "2", "--device", "cpu"]
    assert main([*arguments, "--band", "band.png", "--json", "band.json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "equitensor: diamond.traj: constraints are ignored: in phonons all atoms move\n"
    lines = captured.out.splitlines()
    written = json.loads((folder / "band.json").read_text())
    assert lines[0].startswith("1 displaced supercells of 16 atoms")
    gamma = next(line for line in lines if line.startswith("G ")).split()[1:]
    assert [float(value.rstrip("i")) for value in gamma] == pytest.approx(np.abs(written["frequencies"][0]), abs=0.006)
    assert np.sort(np.abs(written["frequencies"][0]))[:3] == pytest.approx(0, abs=1e-2)
    assert np.shape(written["frequencies"]) == (200, 6)
    assert written["labels"][0] == [0.0, "G"]
    assert (folder / "band.png").read_bytes().startswith(b"\x89PNG")
    for extra, message in (
        (["--band", "band.xyz"], "a picture's name ends in .png"),
        (["--displacement", "0"], "diamond.traj: the displacement is 0.0"),
    ):
        assert main([*arguments, *extra]) == 2
        error = capsys.readouterr().err
        assert message in error


def test_without_phonopy_one_line_says_what_to_install(model_file, folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    assert main(["phonons", str(model_file), "crystal.cif", "--supercell", "2", "2", "2"]) == 2
    error = capsys.readouterr().err
    assert "pip install equitensor[phonons]" in error
    assert error.count("\n") == 1
