"""Every command that takes a MODEL takes the name of a model that comes with equitensor, wherever it is started."""

import json
import shutil
from pathlib import Path

import ase.io
import pytest
from ase.build import molecule

from equitensor import models
from equitensor.cli import main
from equitensor.interfaces import Calculator

ASPIRIN = Path(__file__).resolve().parents[2] / "examples" / "aspirin.xyz"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run(*words) -> what a command prints, in a folder with aspirin.xyz and methanol.xyz, which has labels."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ASPIRIN, "aspirin.xyz")
    frames = [molecule("CH3OH") for _ in range(8)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
        atoms.calc = Calculator("organics", device="cpu", error_bars=False)
        atoms.get_forces()
    ase.io.write("methanol.xyz", frames)

    def run(*words, code=0):
        assert main([str(word) for word in words]) == code, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_relaxation_of_aspirin(run):
    run("relax", "organics", "aspirin.xyz", "--steps", 300, "--fmax", 0.05, "--out", "relaxed.xyz")
    relaxed = ase.io.read("relaxed.xyz")
    assert relaxed.get_distance(0, 1) == pytest.approx(1.5, abs=0.05)  # CH3-C(=O)
    assert relaxed.get_distance(1, 2) == pytest.approx(1.2, abs=0.05)  # C=O


def test_frequencies(run):
    text = run("vibrations", "organics", "methanol.xyz", "--relax")
    assert float(text.partition("zero-point energy ")[2].split()[0]) == pytest.approx(1.37, abs=0.1)  # eV


def test_what_it_is(run):
    text = run("info", "organics")
    assert text.startswith("summary ") and "GFN2-xTB" in text and "MIT" in text
    assert "errors, unseen molecules" in text and "Ions" in text and "H C N O F S Cl" in text
    assert str(models.shipped_models()["organics"]) in text
    assert "organics" in run("info")


def test_errors_and_choice(run):
    run("eval", "organics", "methanol.xyz", "--json", "errors.json")
    assert json.loads(Path("errors.json").read_text())["forces_mae"] < 1e-4
    run("select", "organics", "methanol.xyz", "--count", 2, "--out", "chosen.xyz")
    assert len(ase.io.read("chosen.xyz", ":")) == 2


def test_error_bars_are_not_put_into_it(run, capsys):
    assert main(["uncertainty", "organics", "methanol.xyz"]) == 2
    assert "organics comes with equitensor and stays as it is: copy " in capsys.readouterr().err


def test_lammps_is_told_the_file(run):
    run("lammps", "organics", "aspirin.xyz")
    assert f"pair_coeff * * {models.shipped_models()['organics']} H C O" in Path("aspirin.in").read_text()


def test_a_name_that_is_none_says_which_there_are(run, capsys):
    assert main(["md", "organica", "aspirin.xyz", "--steps", "1"]) == 2
    assert "did you mean organics?" in capsys.readouterr().err
