"""A committee of models: the mean, its spread as error bars, calibrated in the first member's file; else a refusal."""

import copy

import numpy as np
import pytest
import torch
from evaluator_cases import random_potential, structures

from equitensor import Calculator, models
from equitensor.cli import main
from equitensor.data import Memory, open_snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.interfaces.backend import open_engine
from equitensor.models.error_bars import NORMAL_90
from equitensor.training.evaluation import evaluate

RESULTS = ("energy", "energies", "forces", "energy_std", "forces_std", "novelty")


def frames(count, seed) -> list:
    """Molecules with labels as wrong as random numbers are."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        atoms = structures()["molecule"]
        atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape)
        labels = {"energy": float(rng.normal()), "forces": rng.normal(size=(len(atoms), 3))}
        made.append(Structure.from_ase(atoms, **labels))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three models with other weights, the first calibrated with the two others."""
    folder, model = tmp_path_factory.mktemp("committee"), random_potential()
    for k in range(3):
        with torch.no_grad():
            for weight in model.backbone.parameters():
                weight.add_(0.05 * k * torch.randn(weight.shape, generator=torch.Generator().manual_seed(k)))
        models.save(model, folder / f"{k}.eqt")
    for name, count, seed in (("train", 40, 0), ("valid", 60, 1)):
        import ase.io

        ase.io.write(folder / f"{name}.xyz", [each.to_ase() for each in frames(count, seed)])
    words = ["uncertainty", "0.eqt", "train.xyz", "--calibrate", "valid.xyz", "--committee", "1.eqt", "2.eqt"]
    assert main([word if "." not in word else str(folder / word) for word in words]) == 0
    return folder


@pytest.fixture(scope="module")
def members(folder):
    return [folder / f"{k}.eqt" for k in range(3)]


@pytest.mark.parametrize("backend", ["torch", "core"])
def test_results_are_means_and_error_bars_the_spread(members, backend):
    atoms, results = structures()["molecule"], []
    for each in members:
        calc = Calculator(each, device="cpu", dtype="float64", backend=backend)
        calc.calculate(atoms)
        results.append(calc.results)
    calc = copy.deepcopy(Calculator(members, device="cpu", dtype="float64", backend=backend))
    calc.calculate(atoms)
    for name in ("energy", "energies", "forces"):
        np.testing.assert_allclose(calc.results[name], np.mean([each[name] for each in results], axis=0), atol=1e-10)
    entry = models.load(members[0]).error_bars.about["committee"]
    energies, forces = (np.array([each[name] for each in results]) for name in ("energy", "forces"))
    spread = np.sqrt(np.mean(np.var(forces, axis=0, ddof=1), axis=1))
    factors = np.array(entry["forces"])[np.searchsorted(calc.error_bars.elements, atoms.numbers)]
    assert calc.results["energy_std"] == pytest.approx(entry["energy"] * np.std(energies, ddof=1))
    np.testing.assert_allclose(calc.results["forces_std"], factors * spread, rtol=1e-6)
    np.testing.assert_allclose(calc.results["novelty"], results[0]["novelty"])


def test_the_order_does_not_matter_but_that_of_the_first(members):
    atoms, results = structures()["molecule"], []
    for order in ([0, 1, 2], [0, 2, 1]):
        calc = Calculator([members[k] for k in order], device="cpu", dtype="float64")
        calc.calculate(atoms)
        results.append(calc.results)
    for name in RESULTS:
        np.testing.assert_allclose(results[0][name], results[1][name], atol=1e-9)


def test_90_percent_of_new_errors_lie_within(members, folder):
    engine, _ = open_engine(members, "cpu", None, skin=0.0)
    metrics = evaluate(engine, open_snapshots(folder / "valid.xyz")).calibration.metrics()
    assert 0.9 <= metrics["energy"]["coverage_90"] < 0.93 and 0.9 <= metrics["forces"]["coverage_90"] < 0.92
    fresh = evaluate(engine, Memory(frames(200, 5))).calibration
    assert fresh.metrics()["forces"]["coverage_90"] == pytest.approx(0.9, abs=0.02)
    assert np.mean(fresh.forces[:, 0] <= NORMAL_90 * fresh.forces[:, 1] / 2) < 0.8


def test_what_is_not_calibrated_is_refused(members, tmp_path):
    for order in ([0, 1], [1, 0, 2]):
        with pytest.raises(InputError, match="no factors for these models: equitensor uncertainty FIRST"):
            Calculator([members[k] for k in order], device="cpu")
    calc = Calculator([members[k] for k in (1, 0, 2)], device="cpu", error_bars=False)
    calc.calculate(structures()["molecule"])
    assert "energy_std" not in calc.results and "energy_std" not in calc.implemented_properties
    for same in ([members[0]], [members[0]] * 2):
        with pytest.raises(InputError, match="two models or more, all different"):
            Calculator(same, device="cpu")
    changed = models.load(members[2])
    with torch.no_grad():
        next(changed.backbone.parameters()).add_(1e-3)
    models.save(changed, tmp_path / "changed.eqt")
    with pytest.raises(InputError, match="no factors for these models"):
        Calculator([*members[:2], tmp_path / "changed.eqt"], device="cpu")


def test_models_of_other_elements_or_cutoffs_are_refused_by_name(members, tmp_path):
    for name, change in (("elements", {"elements": [1, 6, 8, 9]}), ("cutoff", {"cutoff": 3.5, "seed": 1})):
        path = tmp_path / f"{name}.eqt"
        models.save(random_potential(**change), path)
        with pytest.raises(InputError, match=rf"{path}: its {name} .* are not those of {members[0]}"):
            Calculator([*members[:2], path], device="cpu", error_bars=False)


def test_a_committee_cannot_be_calibrated_on_what_it_has_learned(members, folder, capsys):
    words = ["uncertainty", members[0], folder / "train.xyz", "--committee", members[1]]
    assert main([str(word) for word in words]) == 2
    assert "--committee needs --calibrate VALID" in capsys.readouterr().err
