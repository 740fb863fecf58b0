"""The page on trust: its commands run, its table lists the checks there are."""

import json
import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from equitensor import Calculator, models
from equitensor.cli import main
from equitensor.interfaces.calculator import ERROR_BARS
from equitensor.verification import CHECKS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trust.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"cutoff": 4.0, "channels": 4, "lmax": 1, "layers": 1}
    models.save(models.build(settings, (29,), {29: -1.0}), tmp_path / "model.eqt")
    bulk("Cu").write("crystal.cif")
    return tmp_path


def test_the_commands_run(folder, capsys):
    commands = [
        line.partition("#")[0].split()
        for line in PAGE.read_text().splitlines()
        if line.startswith("    equitensor verify")
    ]
    assert len(commands) == 3
    for command in commands:
        assert main([*command[1:], "--seconds", "3"]) == 0, capsys.readouterr().out
    assert (folder / "verify.json").is_file()


def test_the_table_lists_all_checks():
    rows = [line.split(" | ")[0].strip("| ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert rows[2:-1] == list(CHECKS)


def test_the_commands_of_error_bars_run(folder, capsys):
    calc, rng = EMT(), np.random.default_rng(0)
    for name, count in (("train.xyz", 30), ("valid.xyz", 20), ("test.xyz", 10), ("pool.xyz", 30)):
        frames = []
        for _ in range(count):
            atoms = bulk("Cu", cubic=True)
            atoms.rattle(0.1, rng=rng)
            atoms.calc = calc
            frames.append(atoms.copy())
            labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
            frames[-1].calc = SinglePointCalculator(frames[-1], **labels)
        ase.io.write(folder / name, frames, format="extxyz")
    frames[0].write(folder / "molecule.xyz")
    page = PAGE.read_text().partition("## Error bars")[2]
    commands = [line.partition("#")[0].split() for line in page.splitlines() if line.startswith("    equitensor ")]
    assert [command[1] for command in commands] == ["uncertainty", "info", "eval", "md", "select"]
    for command in commands:
        assert main(command[1:]) == 0, capsys.readouterr().err
    calc = Calculator(folder / "model.eqt")
    names = re.findall(r'calc\.results\["(\w+)"\]', page)
    calc.calculate(frames[0])
    assert names == list(ERROR_BARS) and set(names) <= set(calc.results)


def test_the_figures_of_other_estimates_are_those_of_the_result():
    page = " ".join(PAGE.read_text().split())
    result = json.loads((PAGE.parents[1] / "benchmarks" / "results" / "energy_error_bars.json").read_text())
    seeds = result["seeds"].values()
    hot = [{name: each["600K"] for name, each in seed["estimates"].items()} for seed in seeds]
    used = [each["used"] for each in hot]
    assert "trainings have rank correlations of {:.2f} and {:.2f}".format(*(each["spearman"] for each in used)) in page
    assert all(abs(other["spearman"] - mine["used"]["spearman"]) <= 0.01 for mine in hot for other in mine.values())
    assert "the likelihood of the held-out errors, {} and {},".format(*(seed["power"] for seed in seeds)) in page
    widened = [each["less_regularised_to_a_power"]["coverage_90"] for each in hot]
    shares = [f"{100 * share:.1f} %" for share in (*widened, *(each["coverage_90"] for each in used))]
    assert "contain {} and {} of the energies there instead of {} and {}".format(*shares) in page


def test_the_figures_of_error_bars_are_those_of_the_result():
    page = PAGE.read_text()
    result = json.loads((PAGE.parents[1] / "benchmarks" / "results" / "uncertainty.json").read_text())
    bars, novelty = result["error_bars"], result["novelty"]
    shares = [
        f"{100 * bars[at][name]['coverage_90']:.1f} %" for at in ("300K", "600K") for name in ("energy", "forces")
    ]
    ranks = [f"{bars['600K'][name]['spearman']:.2f}" for name in ("energy", "forces")]
    areas = [f"{novelty[name]:.2f}" for name in ("auroc_dihedral_beyond", "auroc_H_transfer")]
    ratios = [f"{each['ratio']:.2f} times" for each in result["cost"].values()]
    assert all(each in page for each in (*shares, *ranks, *areas, *ratios))
