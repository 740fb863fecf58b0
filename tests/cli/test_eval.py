"""`equitensor eval` by the measures of OC20: tables alike in torch and in the compiled evaluator, and relaxations."""

import json

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.optimize import LBFGS

from equitensor.cli import main
from equitensor.interfaces import Calculator

FMAX, STEPS = 0.05, 2


@pytest.fixture
def frames(model_file):
    """Frames of relaxations of two molecules by the model itself, with tags and an atom that is held."""
    written = []
    for seed, name in enumerate(("CH3OH", "H2O")):
        atoms = molecule(name)
        atoms.rattle(0.05, seed=seed)
        atoms.set_tags(np.arange(len(atoms)) % 3)
        atoms.set_constraint(FixAtoms([0]))
        atoms.calc = Calculator(model_file, device="cpu", dtype="float64")
        for _ in LBFGS(atoms, logfile=None).irun(fmax=FMAX, steps=STEPS):
            frame = atoms.copy()
            frame.info["run"], frame.info["config_type"] = name, f"of {name}"
            results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(apply_constraint=False)}
            frame.calc = SinglePointCalculator(frame, **results)
            written.append(frame)
    ase.io.write("frames.extxyz", written)
    return written


@pytest.fixture
def run(folder, frames, model_file, capsys):
    """run(*options) -> (what was printed, the JSON)."""

    def run(*options, data="frames.extxyz", code=0):
        arguments = ["eval", str(model_file), data, "--device", "cpu", "--dtype", "float64", "--json", "a.json"]
        assert main([*arguments, *options]) == code
        printed = capsys.readouterr()
        return printed.out if code == 0 else printed.err, json.loads(
            (folder / "a.json").read_text()
        ) if code == 0 else None

    return run


def test_both_backends_give_the_same_tables(run):
    options = ["--energy-unit", "Hartree", "--forces-unit=-eV/Angstrom"]  # so that there are errors
    tables, summary = zip(*(run(*options, "--backend", backend) for backend in ("core", "torch")), strict=True)
    assert tables[0] == tables[1]
    for words in ("cosine", "EFwT %", "of CH3OH", "Errors by element", "Errors by tag", "2 adsorbate", "4 to 7 atoms"):
        assert words in tables[0]
    for name, value in summary[0].items():
        if not name.startswith("by_") and value is not None:
            assert value == pytest.approx(summary[1][name], rel=1e-6, abs=1e-9), name
    assert summary[0]["forces_cosine"] == pytest.approx(-1, abs=1e-6) and summary[0]["efwt"] == 0
    assert set(summary[0]["by_element"]) == {"H", "C", "O"} and set(summary[0]["by_config_type"]) == {
        "of CH3OH",
        "of H2O",
    }


def test_a_model_is_right_about_its_own_labels(run):
    text, summary = run("--task", "s2ef")
    assert summary["efwt"] == summary["ewt"] == 1 and "100.00" in text
    assert summary["forces_cosine"] == pytest.approx(1, abs=1e-6)


def test_relaxing_from_the_first_frames_ends_at_the_last(run, frames, folder):
    options = ["--task", "is2re", "--group-key", "run", "--fmax", str(FMAX), "--steps", str(STEPS)]
    text, summary = run(*options, "--out", "relaxed.extxyz")
    ends = [[frame for frame in frames if frame.info["run"] == name][-1] for name in ("CH3OH", "H2O")]
    assert summary["n_structures"] == 2 and summary["energy_mae"] == pytest.approx(0, abs=1e-6)
    assert summary["ewt"] == 1 and summary["n_failed"] == 0
    assert summary["unrelaxed"]["energy_mae"] > 0.01
    for atoms, end in zip(ase.io.read("relaxed.extxyz", ":"), ends, strict=True):
        np.testing.assert_allclose(atoms.positions, end.positions, atol=1e-6)
        assert atoms.info["label_energy"] == pytest.approx(end.get_potential_energy(), abs=1e-6)
    assert "relaxed by the model" in text and "not relaxed" in text and "of 2 relaxed to forces below 0.05" in text


def test_relaxations_that_nobody_ended_are_refused(run, frames):
    ase.io.write("bare.extxyz", [frame.copy() for frame in frames])
    text, _ = run("--task", "is2re", data="bare.extxyz", code=2)
    assert "nothing says how relaxations ended" in text and "has no option" not in text  # nobody gave one


def test_a_largest_force_of_nothing_is_no_default(run):
    text, _ = run("--task", "is2re", "--group-key", "run", "--fmax", "0", code=2)
    assert "fmax must be above 0" in text


def test_options_of_relaxations_belong_to_their_task(run):
    text, _ = run("--fmax", "0.1", code=2)
    assert "need --task is2re" in text


def test_it_says_that_there_is_nothing_to_compare_with(run, frames):
    ase.io.write("bare.extxyz", [frame.copy() for frame in frames])
    text, summary = run(data="bare.extxyz")
    assert "bare.extxyz: no labels, so there is nothing to compare with" in text and "CH4O" in text
    assert summary["energy_mae"] is None and summary["efwt"] is None
