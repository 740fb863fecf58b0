"""Learning rate, loss weights and the end of a run, by steps and by a clock that the test turns."""

import csv
import math
from importlib import import_module
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest

from equitensor.training import fit
from equitensor.training.batches import BatchLimits
from equitensor.training.progress import Progress, lr_factor
from equitensor.training.sampler import BatchSampler
from equitensor.training.trainer import Trainer


class Clock:
    """Stands in for the module `time`."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in ("progress", "trainer", "fit", "live"):
        monkeypatch.setattr(import_module(f"equitensor.training.{module}"), "time", clock)
    return clock


def test_learning_rate():
    assert [lr_factor(x, 0.3) for x in (0.0, 0.3)] == [1.0, 1.0]
    assert lr_factor(0.65, 0.3) == pytest.approx(0.5)
    assert lr_factor(1.0, 0.3) == pytest.approx(0.0)
    assert lr_factor(1.0, 1.0) == 1.0
    assert lr_factor(0.5, 0.0) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))


def test_progress_by_steps_and_by_the_clock(clock):
    progress = Progress(started=clock.now, epochs=100, max_seconds=200, reserve=20)
    assert progress.fraction == 0
    progress.epoch, progress.passed = 24, 1.0
    assert progress.fraction == 0.25
    clock.now += 90
    assert (progress.elapsed, progress.fraction) == (90, 0.5)
    progress.spent = 45
    assert progress.fraction == 0.75
    clock.now += 45
    assert progress.fraction == 1
    assert Progress(started=0.0, epochs=4, epoch=2, passed=0.5).fraction == 0.625
    assert Progress(started=0.0, epochs=4, epoch=4).fraction == 1


def test_a_run_ends_with_its_time_and_anneals_to_it(clock, config, monkeypatch, tmp_path):
    """Steps of ten seconds, validations of one: 5 minutes, less what the closing evaluation will take."""
    seen, step, validate = [], Trainer.step, Trainer._validate

    def slow_step(self, *arguments):
        result = step(self, *arguments)
        seen.append((self.optimizer.param_groups[0]["lr"], self.late))
        clock.now += 10
        return result

    def slow_validation(self):
        clock.now += 1
        errors = validate(self)
        self.validation_seconds = 1.0
        return errors

    monkeypatch.setattr(Trainer, "step", slow_step)
    monkeypatch.setattr(Trainer, "_validate", slow_validation)
    started = clock.now - 7  # the start-up counts
    summary = fit(config(train={"max_epochs": None, "max_time": "00:05:00", "lr": 0.01}), started=started)
    reserve = 3.0 + 1.2 * 24 / 8
    assert 300 - reserve - 11 <= 10 * len(seen) + 8 + summary["epochs"] <= 300 + 10
    assert summary["seconds"] <= 300 + 10
    rates, late = zip(*seen, strict=True)
    assert rates[0] == 0.01
    assert rates[-1] < 0.002
    assert list(rates) == sorted(rates, reverse=True)
    assert not late[len(late) // 2]
    assert late[-1]
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        assert int(list(csv.DictReader(file))[-1]["step"]) == len(seen)


def of_structures(count, size, *args, **kwargs):
    return BatchSampler(np.ones(count, int), BatchLimits(size), *(args or (0,)), **kwargs)


def test_batches_depend_on_seed_and_epoch_alone():
    def epoch(number, seed=0, start=0, **ranks):
        sampler = of_structures(23, 4, seed, **ranks)
        sampler.epoch, sampler.start = number, start
        return list(sampler)

    assert epoch(0) == epoch(0)
    assert epoch(0) != epoch(1)
    assert epoch(0) != epoch(0, seed=1)
    assert epoch(0, start=2) == epoch(0)[2:]
    assert len(set(chain(*epoch(0)))) == 20  # five full batches; the last three structures wait for another epoch


def test_ranks_share_an_epoch():
    def of(rank):
        return list(of_structures(24, 4, 0, 2, rank, 2))

    assert len(of(0)) == len(of(1)) == 3
    assert sorted(chain(*of(0), *of(1))) == list(range(24))


def test_fewer_structures_than_a_batch():
    assert sorted(next(iter(of_structures(3, 10)))) == [0, 1, 2]
    assert [len(b) for b in of_structures(3, 3, 0, 2, 0, 2)] == [3]
    assert [len(b) for b in of_structures(3, 3, 0, 2, 1, 2)] == [0]  # a step of one batch: the other rank has none


def test_all_ranks_follow_the_clock_of_the_first(clock):
    """A rank whose own clock says that the run is over goes on until rank 0 says so."""
    trainer = SimpleNamespace(
        progress=Progress(started=clock.now - 500, max_seconds=300),
        out_of_patience=False,
        ranks=SimpleNamespace(first=lambda value: [0.9]),
    )
    Trainer._read_clock(trainer)
    assert trainer.now == 0.9
