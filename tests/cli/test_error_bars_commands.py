"""uncertainty, info, eval, md, relax and select with error bars, as a user calls them."""

import json
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from equitensor import models
from equitensor.cli import main
from equitensor.interfaces import Calculator


@pytest.fixture
def bars(model_file, folder, capsys):
    """In the folder: model.eqt with error bars, train.xyz and valid.xyz with labels near those of the model."""
    shutil.copy(model_file, "model.eqt")
    calc, rng = Calculator("model.eqt", device="cpu"), np.random.default_rng(0)
    for name, count in (("train.xyz", 40), ("valid.xyz", 40)):
        frames = []
        for _ in range(count):
            atoms = molecule("CH3OH")
            atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape)
            atoms.calc = calc
            labels = {
                "energy": atoms.get_potential_energy() + 0.01 * rng.normal(),
                "forces": atoms.get_forces() + 0.1 * rng.normal(size=atoms.positions.shape),
            }
            atoms.calc = SinglePointCalculator(atoms, **labels)
            frames.append(atoms)
        ase.io.write(name, frames, format="extxyz")
    assert main(["uncertainty", "model.eqt", "train.xyz", "--calibrate", "valid.xyz"]) == 0
    out = capsys.readouterr().out
    assert "90 % of 40 energies" in out and "held out" in out
    return folder


def test_info_says_what_there_is(bars, model_file, capsys):
    assert main(["info", "model.eqt"]) == 0
    out = capsys.readouterr().out
    assert "error_bars.training_structures" in out and "error_bars.calibration.source" in out
    assert main(["info", str(model_file)]) == 0
    assert "none: equitensor uncertainty" in capsys.readouterr().out
    assert main(["uncertainty", "model.eqt", "train.xyz", "--remove"]) == 0
    assert main(["info", "model.eqt"]) == 0
    assert "none: equitensor uncertainty" in capsys.readouterr().out


def test_eval_compares_them_with_errors_and_draws_them(bars, capsys):
    assert main(["eval", "model.eqt", "valid.xyz", "--json", "eval.json", "--plots", "plots"]) == 0
    assert "the 90 % intervals hold" in capsys.readouterr().out
    error_bars = json.loads((bars / "eval.json").read_text())["error_bars"]
    assert error_bars["energy"]["coverage_90"] == pytest.approx(37 / 40)  # the 37th of 40 ratios is the factor
    assert error_bars["forces"]["coverage_90"] == pytest.approx(0.9, abs=0.01)
    assert error_bars["forces"]["sharpness"] == pytest.approx(0.1, rel=0.2) and "largest" in error_bars["novelty"]
    assert {"error_bars_energy.png", "error_bars_forces.png"} <= {path.name for path in (bars / "plots").iterdir()}


def test_predictions_are_written_with_them(bars):
    assert main(["eval", "model.eqt", "valid.xyz", "--out", "predicted.xyz", "--dtype", "float64"]) == 0
    frame = ase.io.read("predicted.xyz", 7)
    calc = Calculator("model.eqt", device="cpu", dtype="float64")
    calc.calculate(ase.io.read("valid.xyz", 7))
    assert frame.info["energy_std"] == pytest.approx(calc.results["energy_std"], rel=1e-6)
    for name in ("forces_std", "novelty"):
        np.testing.assert_allclose(frame.arrays[name], calc.results[name], atol=1e-6)
    assert main(["eval", "model.eqt", "predicted.xyz"]) == 0  # its own labels are written among these


def test_without_held_out_data_it_says_that_it_is_not_calibrated(bars, capsys):
    assert main(["uncertainty", "model.eqt", "train.xyz"]) == 0
    assert "NOT calibrated" in capsys.readouterr().out


def test_md_warns_dumps_and_stops(bars, capsys):
    run = ["md", "model.eqt", "molecule.xyz", "--steps", "6", "--interval", "2", "--device", "cpu"]
    assert main([*run, "--out", "warn.traj", "--max-novelty", "1e-3"]) == 0
    seen = capsys.readouterr()
    assert seen.err.count("warning") == 1 and "novelty above 0.001 in 7 of 7 steps" in seen.out
    assert main([*run, "--out", "dump.traj", "--max-novelty", "1e-3", "--on-limit", "dump"]) == 0
    assert [f.info["step"] for f in ase.io.read("dump-novel.extxyz", ":")] == [0, 2, 4, 6]
    assert main([*run, "--out", "stop.traj", "--max-novelty", "1e-3", "--on-limit", "stop"]) == 1
    assert "step 0: atom" in capsys.readouterr().err and len(ase.io.read("stop.traj", ":")) == 1
    assert main([*run, "--out", "force.traj", "--max-forces-std", "1e-6", "--on-limit", "stop"]) == 1
    assert "forces_std" in capsys.readouterr().err and len(ase.io.read("force.traj", ":")) == 1
    assert main([*run, "--out", "calm.traj", "--max-novelty", "1e6", "--on-limit", "stop"]) == 0


def test_relax_stops(bars, capsys):
    run = ["relax", "model.eqt", "molecule.xyz", "--steps", "2", "--device", "cpu", "--max-novelty", "1e-3"]
    assert main([*run, "--on-limit", "stop"]) == 1
    assert "step 0: atom" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["md", "model.eqt", "molecule.xyz", "--steps", "1"],
        ["relax", "model.eqt", "molecule.xyz", "--steps", "1"],
        ["vibrations", "model.eqt", "molecule.xyz"],
        ["phonons", "model.eqt", "crystal.cif", "--supercell", "1", "1", "1"],
    ],
)
def test_where_none_are_shown_none_are_computed(bars, argv, monkeypatch):
    if argv[0] == "phonons":
        pytest.importorskip("phonopy", reason="needs phonopy: pip install equitensor[phonons]")

    def never(*_):
        raise AssertionError("error bars were computed")

    monkeypatch.setattr("equitensor.models.ErrorBars.of", never)
    monkeypatch.setattr("equitensor.interfaces.evaluator.Model.energy_std", never)
    assert main([*argv, "--device", "cpu"]) == (1 if argv[0] == "relax" else 0)  # one step is not enough to relax


def test_select_writes_what_it_chose(bars, capsys):
    assert main(["select", "model.eqt", "valid.xyz", "--count", "5"]) == 0
    frames = ase.io.read("valid-selected.extxyz", ":")
    chosen = [frame.info["pool_index"] for frame in frames]
    assert len(set(chosen)) == 5
    pool = ase.io.read("valid.xyz", ":")
    for frame, i in zip(frames, chosen, strict=True):
        np.testing.assert_allclose(frame.positions, pool[i].positions, atol=1e-7)
        assert frame.get_potential_energy() == pytest.approx(pool[i].get_potential_energy())
    assert main(["select", "model.eqt", "valid.xyz", "--count", "5"]) == 2
    assert "valid-selected.extxyz exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv, message",
    [
        (["md", "bare.eqt", "molecule.xyz", "--steps", "1", "--max-novelty", "2"], "bare.eqt has no error bars"),
        (["select", "bare.eqt", "valid.xyz", "--count", "1"], "bare.eqt has no error bars"),
        (["select", "model.eqt", "valid.xyz", "--count", "41"], "41 are asked for; it has 40"),
        (
            ["md", "model.eqt", "molecule.xyz", "--steps", "1", "--on-limit", "stop"],
            "needs --max-novelty X or --max-forces",
        ),
        (["relax", "model.eqt", "molecule.xyz", "--max-novelty", "-1"], "must be above 0"),
        (["relax", "model.eqt", "molecule.xyz", "--max-forces-std", "0"], "the largest forces_std allowed is 0.0"),
        (["uncertainty", "model.eqt", "silane.xyz", "--calibrate", "valid.xyz"], "unknown to the model"),
        (["uncertainty", "model.eqt", "train.xyz", "--calibrate", "few.xyz"], "too few to calibrate"),
    ],
)
def test_wrong_input_is_one_message(bars, model_file, argv, message, capsys):
    shutil.copy(model_file, "bare.eqt")
    ase.io.write("few.xyz", ase.io.read("valid.xyz", ":5"), format="extxyz")
    before = (bars / "model.eqt").read_bytes()
    assert main(argv) == 2
    assert message in capsys.readouterr().err
    assert (bars / "model.eqt").read_bytes() == before


@pytest.fixture
def committee(bars, capsys):
    """Further models, and factors of the three in model.eqt."""
    for seed in (1, 2):
        changed = models.load("model.eqt", dtype=torch.float64)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in changed.backbone.parameters():
                weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
        models.save(changed, f"{seed}.eqt")
    words = ["uncertainty", "model.eqt", "train.xyz", "--calibrate", "valid.xyz", "--committee", "1.eqt", "2.eqt"]
    assert main(words) == 0
    return ["model.eqt", "1.eqt", "2.eqt"]


@pytest.mark.parametrize("backend", ["core", "torch"])
def test_commands_take_a_committee(committee, backend, capsys):
    others, how = ["--committee", *committee[1:]], ["--device", "cpu", "--backend", backend, "--dtype", "float64"]
    assert main(["eval", "model.eqt", "valid.xyz", *others, *how, "--json", "eval.json", "--out", "out.xyz"]) == 0
    assert "error bars of energy: the 90 % intervals hold 92.5 %" in capsys.readouterr().out  # 37 of 40, as calibrated
    figures = json.loads(Path("eval.json").read_text())["error_bars"]
    assert figures["forces"]["coverage_90"] == pytest.approx(0.9, abs=0.01)
    assert figures["energy"].keys() == {"coverage_90", "sharpness", "spearman"}
    calc = Calculator(committee, device="cpu", dtype="float64")
    written = ase.io.read("out.xyz", 3)
    calc.calculate(ase.io.read("valid.xyz", 3))
    assert written.get_potential_energy() == pytest.approx(calc.results["energy"], abs=1e-7)
    np.testing.assert_allclose(written.arrays["forces_std"], calc.results["forces_std"], rtol=1e-4)
    for command in (["md", "--steps", "1", "--interval", "1"], ["relax", "--steps", "0"]):
        run = [command[0], "model.eqt", "molecule.xyz", *command[1:], *others, *how, "--out", f"{command[0]}.extxyz"]
        limit = ["--max-forces-std", "1e-6", "--on-limit", "dump"]
        assert main([*run, *limit]) == (1 if command[0] == "relax" else 0)
        start, beyond = ase.io.read(f"{command[0]}.extxyz", 0), ase.io.read(f"{command[0]}-novel.extxyz", 0)
        calc.calculate(start)
        np.testing.assert_allclose(start.get_forces(), calc.results["forces"], atol=1e-6)
        np.testing.assert_allclose(beyond.arrays["forces_std"], calc.results["forces_std"], rtol=1e-4)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["eval", "model.eqt", "valid.xyz", "--committee", "1.eqt"], "no factors for these models"),
        (["md", "model.eqt", "molecule.xyz", "--steps", "1", "--committee", "model.eqt"], "all different"),
        (["relax", "model.eqt", "molecule.xyz", "--committee", "valid.xyz"], "valid.xyz"),
        (
            ["eval", "model.eqt", "valid.xyz", "--task", "is2re", "--committee", "1.eqt"],
            "cannot be used with --task is2re",
        ),
    ],
)
def test_wrong_committees_are_one_message(committee, argv, message, capsys):
    assert main(argv) == 2
    assert message in capsys.readouterr().err


def test_a_committee_moves_atoms_without_factors(committee):
    run = ["md", "2.eqt", "molecule.xyz", "--steps", "1", "--committee", "1.eqt", "--device", "cpu"]
    assert main([*run, "--out", "mean.traj"]) == 0
