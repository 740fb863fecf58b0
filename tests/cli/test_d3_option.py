"""--d3 adds a dispersion wherever a model computes, and is refused beside the model's own."""

import ase.io
import pytest
from ase.build import molecule

from equitensor.cli import main
from equitensor.interfaces import Calculator

STRUCTURE = "water.xyz"
COMMANDS = {
    "md": ["--steps", "1", "--interval", "1", "--out", "out.traj"],
    "relax": ["--steps", "0", "--out", "out.extxyz"],
}


@pytest.fixture(autouse=True)
def _here(d3_stand_in, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ase.io.write(STRUCTURE, molecule("H2O"), format="extxyz")


@pytest.fixture
def rest(trained_file, lacking_d3):
    return str(lacking_d3(trained_file))


def energy(path, **options):
    return Calculator(path, device="cpu", dtype="float64", **options).get_potential_energy(molecule("H2O"))


@pytest.mark.parametrize("command", COMMANDS)
def test_simulations(trained_file, rest, command):
    for model, option in ((str(trained_file), ["--d3", "pbe-bj"]), (rest, [])):
        options = [*COMMANDS[command], *option, "--overwrite", "--dtype", "float64", "--device", "cpu"]
        main([command, model, STRUCTURE, *options])
        computed = ase.io.read(COMMANDS[command][-1], "0").get_potential_energy()
        assert computed == pytest.approx(energy(rest), abs=1e-6)
    assert abs(energy(rest) - energy(trained_file)) > 1e-3


def test_predictions(trained_file, rest, capsys):
    for model, option in ((str(trained_file), ["--d3", "pbe-bj"]), (rest, []), (rest, ["--backend", "torch"])):
        arguments = [model, STRUCTURE, "--device", "cpu", "--dtype", "float64", "--out", "out.extxyz"]
        assert main(["eval", *arguments, *option]) == 0
        assert ase.io.read("out.extxyz").get_potential_energy() == pytest.approx(energy(rest), abs=1e-6)


def test_twice(rest, capsys):
    assert main(["eval", rest, STRUCTURE, "--d3", "pbe-bj"]) == 2
    assert "d3 pbe-bj was taken off the labels that the model learned" in capsys.readouterr().err


def test_the_card_says_so(rest, capsys):
    assert main(["info", rest]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("d3")] == [
        ["d3", "pbe-bj"]
    ]
