"""A batch over two threads is the batch on one: also where molecules and crystals, labelled and not, share it."""

import csv

import ase.io
import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from rich.console import Console

from equitensor import models
from equitensor.graph import AtomicGraph
from equitensor.graph.labels import STRESS
from equitensor.training import evaluate, fit
from equitensor.training.loss import labelled, residuals
from equitensor.training.setup import build_model, open_data
from equitensor.training.shards import Shards, split
from equitensor.training.trainer import Trainer

E0S = {"H": -13.6, "C": -1035.0, "N": -1485.0, "O": -2043.0}


@pytest.fixture
def mixed_data(frames, crystal, tmp_path):
    """8 molecules and 8 crystals, the last of which have no stress."""
    path = tmp_path / "mixed.xyz"
    ase.io.write(path, [*frames[:8], *(crystal(i, stress=i < 6) for i in range(8))], format="extxyz")
    return path


@pytest.fixture
def mixed(config, mixed_data):
    def make(**changes):
        data = {"train": str(mixed_data), "group_key": None, "valid_fraction": 0.5, "e0s": E0S}
        return config(data=data, **changes)

    return make


def trainer_of(config, count):
    data = open_data(config, Console(quiet=True))
    fabric = Fabric(accelerator="cpu", devices=1)
    model = build_model(config, data)
    made = Trainer(config, fabric, model, torch.optim.SGD(model.parameters(), lr=0.0), data)
    made.shards = Shards(count, count, made.model)
    made.progress = None
    return made


def one_step(config, count, indices, hooks=()):
    """Loss, residuals and gradients of one batch in `count` shards, with hooks on every parameter."""
    trainer = trainer_of(config, count)
    for parameter in trainer.parameters:
        for hook in hooks:
            parameter.register_hook(hook)
    part = split([trainer.data.train[i] for i in indices], count)
    with trainer.shards as shards:
        assert len(shards.processes) == count - 1
        errors, value = trainer.step([part])
    return value, errors, [None if p.grad is None else p.grad.clone() for p in trainer.parameters], part.graphs


@pytest.mark.parametrize("stress", [0.0, 50.0])
def test_two_shards_take_the_step_of_one(mixed, stress):
    config = mixed(loss={"stress": stress})
    indices = range(8)
    value, errors, gradients, graphs = one_step(config, 1, indices)
    two = one_step(config, 2, indices)
    assert len(two[3]) == 2
    assert two[0] == pytest.approx(value, rel=1e-10)
    assert {name: len(rows) for name, rows in two[1].items()} == {name: len(rows) for name, rows in errors.items()}
    assert len(errors["stress"]) == (int(labelled(STRESS, graphs[0]).sum()) if stress else 0)
    for one, other in zip(gradients, two[2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_hooks_of_parameters_are_called_for_every_shard(mixed):
    seen = []
    hooks = (seen.append, lambda gradient: gradient / 2)  # one that only looks, one that changes what it is given
    _, _, gradients, _ = one_step(mixed(), 1, range(8))
    _, _, halves, _ = one_step(mixed(), 2, range(8), hooks)
    assert len(seen) > len(gradients)
    for one, other in zip(gradients, halves, strict=True):
        torch.testing.assert_close(one / 2, other, rtol=1e-8, atol=1e-10)


def test_a_shard_without_periodic_structures_has_no_stress_and_spoils_none(mixed):
    trainer = trainer_of(mixed(), 2)
    graphs = [trainer.data.train[i] for i in range(8)]
    molecules, crystals = ([g for g in graphs if bool(g.pbc.all()) is periodic] for periodic in (False, True))
    shards = [AtomicGraph.collate(part) for part in (molecules, crystals)]
    parts = [residuals(trainer.model(shard), shard) for shard in shards]
    assert [len(part["stress"]) for part in parts] == [0, int(labelled(STRESS, shards[1]).sum())]
    with trainer.shards:
        for order in (shards, shards[::-1]):
            errors = trainer.shards.residuals(trainer.ema.module, order, stress=True)
            assert len(errors["stress"]) == len(parts[1]["stress"]) > 0


@pytest.mark.parametrize("stress", [0.0, 50.0])
def test_a_run_on_molecules_and_crystals_reports_the_errors_of_its_model(mixed, shards, tmp_path, stress):
    run = mixed(loss={"stress": stress}, train={"batch_size": 3, "max_epochs": 1})
    summary = fit(run)
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    data = open_data(run, Console(quiet=True))
    model = models.load(tmp_path / "run" / "model.eqt")
    errors = evaluate(model, data.valid.snapshots, data.valid.indices, batch_size=1).metrics
    for name in ("energy_rmse", "forces_rmse", "stress_rmse", "stress_mae"):
        assert float(row[f"valid_{name}"]) == pytest.approx(errors[name], rel=1e-6)
        assert summary["errors"]["valid"][name] == pytest.approx(errors[name], rel=1e-6)
    assert np.isfinite(errors["stress_rmse"])
