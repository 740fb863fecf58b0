"""A whole run: what it writes, how it goes on after a stop, what it starts from."""

import csv
import json
from itertools import count

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console

from equitensor import models
from equitensor.errors import InputError
from equitensor.training import check, fit
from equitensor.training.checkpoint import read_checkpoint
from equitensor.training.setup import build_model, open_data
from equitensor.training.shards import Shards
from equitensor.training.validation import ValidationErrors

pytestmark = pytest.mark.usefixtures("shards")  # all of training, on one thread and on two


def rows(run):
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def flat(state, name=""):
    """The leaves of a checkpoint by path."""
    if isinstance(state, dict):
        return {k: v for key, value in state.items() for k, v in flat(value, f"{name}/{key}").items()}
    if isinstance(state, list | tuple):
        return {k: v for i, value in enumerate(state) for k, v in flat(value, f"{name}/{i}").items()}
    return {name: state}


def assert_same_state(one, other):
    one, other = flat(one), flat(other)
    assert set(one) == set(other)
    for name in set(one) - {"/elapsed", "/reserve", "/rng"}:  # the process's random state is not the run's
        same = torch.equal(one[name], other[name]) if isinstance(one[name], torch.Tensor) else one[name] == other[name]
        assert same, name


def test_a_run_leaves_everything_behind(config, tmp_path, frames, pictures):
    summary = fit(config(data={"test": str(tmp_path / "small.xyz")}))
    run = tmp_path / "run"
    names = {"model.eqt", "last.ckpt", "config.yaml", "split.json", "metrics.csv", "summary.json", "plots", ".lock"}
    assert {path.name for path in run.iterdir()} == names
    assert {path.name for path in (run / "plots").iterdir()} == {
        "learning.png",
        "parity_energy.png",
        "parity_forces.png",
        "forces_by_element.png",
    }
    assert json.loads((run / "summary.json").read_text()) == json.loads(json.dumps(summary))
    parts = {"train", "valid", "test"}
    assert set(summary["errors"]) == parts | {f"{name}, E0s and zero forces" for name in parts - {"train"}}
    assert (summary["epochs"], summary["steps"]) == (2, 8)
    assert summary["errors"]["test"]["n_structures"] == 24
    split = json.loads((run / "split.json").read_text())
    assert sorted(split["train"] + split["valid"]) == list(range(24))
    groups = [{frames[i].info["trajectory"] for i in split[part]} for part in ("train", "valid")]
    assert not groups[0] & groups[1]
    last = rows(run)[-1]
    assert (last["epoch"], last["step"]) == ("2", "8")
    assert float(last["valid_forces_rmse"]) == pytest.approx(summary["errors"]["valid"]["forces_rmse"])
    assert all(float(row["train_loss"]) > 0 for row in rows(run))


def test_the_same_seed_gives_the_same_model(config, tmp_path, shards):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(config(output=str(tmp_path / name), seed=seed))
    a, b, c = (models.load(tmp_path / name / "model.eqt").state_dict() for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


@pytest.mark.parametrize("optimizer, steps", [("soap", 4), ("soap", 7), ("adam", 5)])
def test_a_stopped_and_resumed_run_is_the_run(config, tmp_path, stopped, shards, every_step, steps, optimizer):
    """Stopped after an epoch or within one: weights, average, optimiser, best model are equal to the last bit."""
    train = {"max_epochs": 3, "optimizer": optimizer}
    fit(config(output=str(tmp_path / "whole"), train=train))
    parts = config(output=str(tmp_path / "parts"), train=train)
    stopped(parts, calls=steps)
    assert read_checkpoint(tmp_path / "parts")["step"] == steps
    fit(parts, resume=tmp_path / "parts")
    states = [read_checkpoint(tmp_path / name) for name in ("whole", "parts")]
    assert states[0]["step"] == 12
    assert_same_state(*states)
    weights = [models.load(tmp_path / name / "model.eqt").state_dict() for name in ("whole", "parts")]
    assert_same_state(*weights)
    ends = [
        [(row["epoch"], row["step"], row["lr"], row["valid_loss"]) for row in rows(tmp_path / name)]
        for name in ("whole", "parts")
    ]
    assert ends[0] == ends[1]


def test_a_finished_run_goes_on_with_more_epochs(config, tmp_path):
    run = tmp_path / "run"
    fit(config())
    summary = fit(config(train={"max_epochs": 3}), resume=run)
    assert (summary["epochs"], summary["steps"]) == (3, 12)
    assert fit(config(train={"max_epochs": 3}), resume=run)["steps"] == 12  # nothing left to do


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model": {"lmax": 2}}, r"model\.lmax was 1, is 2"),
        ({"model": {"product": "cg"}}, r"model\.product was None, is 'cg'"),
        ({"train": {"optimizer": "adam"}}, r"train\.optimizer was 'soap'"),
        ({"data": {"valid_fraction": 0.2}}, r"data\.valid_fraction"),
        ({"seed": 4}, r"seed was 0, is 4"),
    ],
)
def test_a_resume_with_another_config_is_refused(config, tmp_path, changes, message):
    fit(config(train={"max_epochs": 1}))
    with pytest.raises(InputError, match=message):
        fit(config(**changes), resume=tmp_path / "run")


def test_a_damaged_checkpoint_is_refused(config, tmp_path):
    fit(config(train={"max_epochs": 1}))
    path = tmp_path / "run" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    start_anew = r"start a new run in another folder .*, from its best weights with train\.init_from=.*run/model\.eqt"
    with pytest.raises(InputError, match=rf"run/last\.ckpt is damaged, it cannot be read \(.*\): {start_anew}$"):
        fit(config(), resume=tmp_path / "run")
    path.unlink()
    with pytest.raises(InputError, match=rf"run holds no last\.ckpt, nothing to resume: {start_anew}$"):
        fit(config(), resume=tmp_path / "run")
    with pytest.raises(InputError, match=r"run is not empty: choose another folder \(output=\.\.\.\)$"):
        fit(config())


def test_workers_change_nothing(config, tmp_path, shards):
    states = []
    for first, then in ((0, 0), (2, 2), (0, 2)):
        run = tmp_path / f"{first}{then}"
        for epochs, workers, resume in ((1, first, None), (2, then, run)):
            own = config(output=str(run), data={"num_workers": workers}, train={"max_epochs": epochs})
            fit(own, resume=resume)
        states.append(models.load(run / "model.eqt").state_dict())
    none, two, later = states
    assert_same_state(none, two)
    assert_same_state(none, later)


def test_a_folder_with_something_in_it_is_left_alone(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"run is not empty: choose another folder"):
        fit(config())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_a_config_that_fails_leaves_the_folder_free(config, tmp_path):
    with pytest.raises(InputError, match="nothing to learn from"):
        fit(config(loss={"energy": 0, "energy_late": 0, "forces": 0, "stress": 0}))
    fit(config(train={"max_epochs": 1}))


def test_init_from_starts_with_the_weights_of_another_run(config, tmp_path, shards):
    fit(config(output=str(tmp_path / "first")))
    weights = models.load(tmp_path / "first" / "model.eqt").state_dict()
    train = {"init_from": str(tmp_path / "first" / "model.eqt"), "max_epochs": 1, "lr": 1e-30}
    fit(config(output=str(tmp_path / "second"), train=train, seed=9))
    after = models.load(tmp_path / "second" / "model.eqt").state_dict()
    for name, value in weights.items():
        torch.testing.assert_close(after[name], value, rtol=1e-12, atol=1e-12)
    with pytest.raises(InputError, match=r"init_from: .*model\.eqt differs in model\.channels"):
        fit(config(output=str(tmp_path / "third"), train=train, model={"channels": 2}))
    with pytest.raises(InputError, match=r"init_from: .*model\.eqt differs in model\.correlation"):
        fit(config(output=str(tmp_path / "fourth"), train=train, model={"correlation": 2}))


def test_init_from_predicts_as_the_other_run_on_data_of_another_density(config, tmp_path):
    fit(config(output=str(tmp_path / "first"), train={"max_epochs": 1}))
    first = models.load(tmp_path / "first" / "model.eqt")
    config = config(train={"init_from": str(tmp_path / "first" / "model.eqt")}, data={"valid_fraction": 0.0})
    data = open_data(config, Console(quiet=True))
    model = build_model(config, data).eval()
    for other in (model, _through_a_file(model, tmp_path)):
        torch.testing.assert_close(other(data.train[0])["forces"], first(data.train[0])["forces"])


def _through_a_file(model, folder):
    models.save(model, folder / "copy.eqt")
    return models.load(folder / "copy.eqt")


def test_check_takes_one_step_and_writes_nothing(config, tmp_path, capsys):
    report = check(config())
    assert not (tmp_path / "run").exists()
    assert report["structures"] == 4
    out = capsys.readouterr().out
    assert "Everything is in order" in out
    assert "with forces" in out


def test_an_element_that_no_training_structure_holds_is_named(config, frames, tmp_path, capsys):
    sulfur = Atoms("S", info={"config_type": "IsolatedAtom"})
    sulfur.calc = SinglePointCalculator(sulfur, energy=-85.0)
    ase.io.write(tmp_path / "small.xyz", [*frames, sulfur], format="extxyz")
    check(config(data={"group_key": None, "valid_fraction": 0.2}))
    assert "no training structure holds S" in capsys.readouterr().out


def test_energies_alone_can_be_learnt(config, frames, tmp_path):
    plain = [without(atoms, "forces") for atoms in frames]
    ase.io.write(tmp_path / "small.xyz", plain, format="extxyz")
    summary = fit(config(loss={"forces": 0}))
    assert summary["errors"]["valid"]["forces_mae"] is None
    assert summary["errors"]["valid"]["energy_mae"] < 5


def without(atoms, *names):
    """A copy of labelled atoms without some of the labels."""
    copy = atoms.copy()
    results = {name: value for name, value in atoms.calc.results.items() if name not in names}
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def test_labels_that_are_missing_here_and_there(config, frames, tmp_path):
    mixed = [without(a, *(("energy",), ("forces",), ())[i % 3]) for i, a in enumerate(frames)]
    ase.io.write(tmp_path / "small.xyz", mixed, format="extxyz")
    errors = fit(config())["errors"]["valid"]
    assert np.isfinite([errors["energy_rmse"], errors["forces_rmse"]]).all()


def test_labels_that_the_loss_does_not_count(config, frames, tmp_path):
    ase.io.write(tmp_path / "small.xyz", [without(a, "forces") for a in frames], format="extxyz")
    with pytest.raises(InputError, match=r"none of the labels that the loss counts \(forces, stress\)"):
        fit(config(loss={"energy": 0, "energy_late": 0}))


@pytest.mark.parametrize("clip, advice", [(None, "set train.clip"), (1.0, r"lower train\.clip \(1\)")])
def test_a_loss_that_explodes_stops_the_run(config, clip, advice):
    with pytest.raises(
        InputError, match=rf"the loss is (NaN|infinite) at step \d+ and the 9 before: lower train\.lr, {advice}"
    ):
        fit(config(train={"lr": 1e200, "max_epochs": 20, "clip": clip}))


def test_a_step_without_numbers_is_left_out(config, tmp_path, monkeypatch, caplog):
    backward, calls = Shards.backward, count()

    def sometimes(self, *arguments, **options):
        residuals, value = backward(self, *arguments, **options)
        number = next(calls)
        if number == 2:
            self.parameters[0].grad.fill_(float("inf"))
        return residuals, float("nan") if number == 1 else value

    monkeypatch.setattr(Shards, "backward", sometimes)
    fit(config(train={"max_epochs": 2}))
    said = [record.message for record in caplog.records if "is left out" in record.message]
    assert said == [
        "step 1 is left out: the loss is NaN",
        "step 2 is left out: a gradient of the loss is NaN or infinite",
    ]
    weights = read_checkpoint(tmp_path / "run")["model"]
    assert all(weight.isfinite().all() for weight in weights.values())


@pytest.mark.parametrize("late", [0.0, 0.5, 1.0])
def test_the_best_model_is_kept_whenever_the_late_stage_begins(config, tmp_path, monkeypatch, every_step, late):
    """Validations after each of three epochs and at the end; the second is the best by the loss of the last stage."""
    losses, weights = iter([9.0, 3.0, 1.0, 2.0]), []
    monkeypatch.setattr(ValidationErrors, "values", lambda self: weights.append(self.weights) or {"loss": next(losses)})
    fit(config(train={"max_epochs": 3}, loss={"late": late, "energy": 1.0, "energy_late": 7.0}))
    assert models.read_header(tmp_path / "run" / "model.eqt")["provenance"]["validation"] == {"loss": 1.0}
    assert [stage["energy"] for stage in weights] == [1.0 if late == 1 else 7.0] * 4


@pytest.mark.parametrize(
    "loss, labels", [({}, ["energy", "forces"]), ({"forces": 0}, ["energy"]), ({"stress": 3.0}, ["energy", "forces"])]
)
def test_the_model_file_says_what_was_trained_on(config, tmp_path, loss, labels):
    fit(config(train={"max_epochs": 1}, loss=loss))
    provenance = models.read_header(tmp_path / "run" / "model.eqt")["provenance"]
    assert (provenance["labels"], provenance["batch_size"]) == (labels, 4)
