"""Batches by edges: of equal work, in random order, whole; and a step in several parts is the step at once."""

import copy
from itertools import chain
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from rich.console import Console

from equitensor.data import GraphDataset, Memory, open_snapshots
from equitensor.graph import Structure
from equitensor.training import check
from equitensor.training.batches import BatchLimits, default_limits
from equitensor.training.sampler import BatchSampler
from equitensor.training.setup import build_model, open_data
from equitensor.training.shards import Shards, in_parts
from equitensor.training.sizes import sizes
from equitensor.training.trainer import Trainer
from equitensor.training.waiting import Waiting

E0S = {"H": -13.6, "C": -1035.0, "N": -1485.0, "O": -2043.0}


def mixed_sizes(count=400, seed=0):
    """Molecules of about 200 edges and, one in five, cells of 1500 to 9000."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(count) < 0.2, rng.integers(1500, 9000, count), rng.integers(150, 250, count))


BY_EDGES = BatchLimits(edges=4500)


def epoch(edges, number=0, start=0, limits=BY_EDGES, **options):
    sampler = BatchSampler(edges, limits, 0, **options)
    sampler.epoch, sampler.start = number, start
    return list(sampler), list(sampler.passed)


def test_batches_hold_about_equal_work_and_every_structure_once():
    edges = mixed_sizes()
    batches, passed = epoch(edges)
    taken = list(chain(*batches))
    assert len(set(taken)) == len(taken) > 390
    assert set(np.flatnonzero(edges > 4500)) <= set(taken)
    work = np.array([edges[batch].sum() for batch in batches])
    alone = np.array([len(batch) == 1 for batch in batches])
    assert (work[~alone] <= 4500).all()
    assert np.median(work) > 4200 and (work > 3000).mean() > 0.9
    assert passed[-1] == 1.0 and sorted(passed) == passed and 0 < passed[0] < 0.1


def test_sizes_are_mixed_at_random():
    """No part of an epoch has only small ones: the large ones in the first half are half of them, give or take."""
    edges = mixed_sizes(2000)
    halves = []
    for number in range(20):
        order = list(chain(*epoch(edges, number)[0]))
        halves.append((edges[order[: len(order) // 2]] > 1000).sum() / (edges[order] > 1000).sum())
    assert np.mean(halves) == pytest.approx(0.5, abs=0.02)
    assert max(halves) < 0.6 and min(halves) > 0.4


@pytest.mark.parametrize("limits", [BatchLimits(edges=4500), BatchLimits(7), BatchLimits(7, 4500)])
def test_a_resumed_epoch_takes_the_same_batches_on_any_number_of_ranks(limits):
    edges = mixed_sizes(100)
    whole = epoch(edges, 3, limits=limits, together=4)[0]
    assert epoch(edges, 3, start=2, limits=limits, together=4)[0] == whole[2:]
    for count in (2, 3, 5):
        parts = [epoch(edges, 3, limits=limits, together=4, rank=r, world_size=count) for r in range(count)]
        assert [sorted(chain(*step)) for step in zip(*(p[0] for p in parts), strict=True)] == [sorted(s) for s in whole]
        assert all(p[1] == parts[0][1] for p in parts)


def graph(edges, atoms=1):
    return SimpleNamespace(num_edges=edges, num_nodes=atoms)


def test_parts_are_within_the_limits_and_none_is_dropped():
    graphs = [graph(n) for n in (10, 30, 50, 200, 20, 20, 20)]
    parts = list(BatchLimits(edges=60).parts(graphs))
    assert [[g.num_edges for g in part] for part in parts] == [[10, 30], [50], [200], [20, 20, 20]]
    assert [len(part) for part in BatchLimits(3).parts(graphs)] == [3, 3, 1]
    assert [len(part) for part in BatchLimits(edges=60).parts([graph(0, 25)] * 5)] == [2, 2, 1]  # atoms out of reach
    assert list(BatchLimits(edges=60).parts([])) == []


@pytest.mark.parametrize("mean, structures", [(180, 10), (302, 10), (430, 10), (1900, 2), (3600, 1), (9000, 1)])
def test_by_default_ten_molecules_or_one_large_cell(mean, structures):
    limits = default_limits(np.array([mean - 3, mean + 3]))
    assert max(1, limits.edges // (mean + 3)) == structures


def structures(count):
    """Chains of 5 to 60 carbon atoms, 1.5 Angstrom apart."""
    rng = np.random.default_rng(0)
    for n in rng.integers(5, 60, count):
        pos = np.zeros((n, 3))
        pos[:, 0] = 1.5 * np.arange(n)
        yield Structure(z=np.full(n, 6), pos=pos, cell=np.zeros((3, 3)), pbc=np.zeros(3, bool), energy=0.0)


def test_edges_are_counted_where_graphs_are_kept_and_estimated_where_not(monkeypatch):
    data = Memory(structures(700))
    exact = sizes(GraphDataset(data, cutoff=4.0, cache=True))
    atoms = data.index.atoms
    np.testing.assert_array_equal(exact, 4 * atoms - 6)  # two neighbours on either side
    built, build = [], GraphDataset._build
    monkeypatch.setattr(GraphDataset, "_build", lambda self, i: built.append(i) or build(self, i))
    estimate = sizes(GraphDataset(data, cutoff=4.0, cache=False))
    assert len(built) == 500
    np.testing.assert_allclose(estimate, exact, rtol=0.1)


@pytest.fixture
def mixed_data(frames, crystal, tmp_path):
    """10 molecules and 8 crystals; labels are missing here and there."""
    mixed = [*copy.deepcopy(frames[:10]), *(crystal(i, stress=i % 3 == 0) for i in range(8))]
    for atoms in mixed[::3]:
        atoms.calc.results.pop("energy")
    ase.io.write(tmp_path / "mixed.xyz", mixed, format="extxyz")
    return {"train": str(tmp_path / "mixed.xyz"), "group_key": None, "valid_fraction": 0.0, "e0s": E0S}


def one_step(config, limits, shards):
    """Loss, residuals and gradients of the whole set, computed in parts within `limits`."""
    data = open_data(config, Console(quiet=True))
    model = build_model(config, data)
    made = Trainer(config, Fabric(accelerator="cpu", devices=1), model, torch.optim.SGD(model.parameters(), 0.0), data)
    made.shards, made.progress = Shards(shards, shards, made.model), None
    parts = in_parts([data.train[i] for i in range(len(data.train))], limits, shards)
    with made.shards:
        errors, value = made.step(parts)
    return len(parts), value, errors, [None if p.grad is None else p.grad.clone() for p in made.parameters]


@pytest.mark.parametrize("shards", [1, 2])
def test_a_step_in_parts_is_the_step_at_once(config, mixed_data, shards):
    run = config(data=mixed_data, train={"batch_size": 18})
    _, value, errors, gradients = one_step(run, BatchLimits(), 1)
    count, *parts = one_step(run, BatchLimits(edges=250), shards)
    assert count > 4
    assert parts[0] == pytest.approx(value, rel=1e-12)
    assert {name: len(rows) for name, rows in parts[1].items()} == {name: len(rows) for name, rows in errors.items()}
    for one, other in zip(gradients, parts[2], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-11)


def sizes_of(data):
    return sizes(GraphDataset(open_snapshots(data["train"]), cutoff=3.0))


def test_the_start_says_what_a_batch_is(config, mixed_data, capsys):
    report = check(config(data=mixed_data, train={"batch_size": None, "batch_edges": 150, "accumulate": 3}))
    out = " ".join(capsys.readouterr().out.split())
    each = 1 / np.minimum(1, sizes_of(mixed_data) / 150).mean()
    assert f"edges per batch: 150, about {each:.2g} structures (change with train.batch_edges)" in out
    assert "batches per step: 3, on 1 rank" in out
    assert report["edges"] == 150


def test_the_check_takes_the_batch_with_the_most_edges(config, mixed_data):
    data = open_data(config(data=mixed_data), Console(quiet=True))
    largest = np.sort(data.train.num_atoms)[::-1]
    report = check(config(data=mixed_data, train={"batch_size": 2, "max_epochs": 300}))
    assert report["structures"] == 2
    assert report["atoms"] == largest[:2].sum() == 26


def test_workers_read_ahead_where_steps_wait(config, monkeypatch, tmp_path, capsys):
    """The change is in the middle of an epoch, and changes nothing but the wait."""
    from equitensor import models
    from equitensor.training import fit

    monkeypatch.setattr(Waiting, "add", lambda self, *_: True)
    weights = {}
    for workers in (0, 1):
        monkeypatch.setattr(Waiting, "workers", lambda self, spare, n=workers: n)
        fit(config(output=str(tmp_path / str(workers)), train={"max_epochs": 2}))
        assert ("1 processes read ahead" in capsys.readouterr().out) == bool(workers)
        weights[workers] = models.load(tmp_path / str(workers) / "model.eqt").state_dict()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_how_many_workers():
    def of(waited, computed, spare, warm_up=9.0):
        waiting = Waiting()
        due = [waiting.add(warm_up if i < 5 else waited, computed) for i in range(25)]
        assert due == [False] * 24 + [True]
        return waiting.workers(spare)

    assert of(0.001, 0.1, 8) == 0  # the long waits of the first steps do not count
    assert of(0.02, 0.1, 8) == 2
    assert of(0.5, 0.1, 8) == 6
    assert of(0.5, 0.1, 3) == 3
    assert of(0.5, 0.1, 0) == of(0.5, 0.1, -1) == 0
