"""A run that is killed, and killed again, ends as one that was left alone, to the last bit."""

import csv
import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from equitensor import models
from equitensor.training import fit, trainer
from equitensor.training.metrics_log import MetricsLog
from equitensor.training.trainer import Trainer

# What hangs on the clock, and a state of which loaders draw seeds for workers, but no step anything.
_APART = ("elapsed", "reserve", "rng")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def killed(monkeypatch, owner, name, call, run):
    """Run in a child process, which is killed just after so many calls of a function."""
    function, calls = getattr(owner, name), []

    def then_die(*arguments, **options):
        result = function(*arguments, **options)
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, then_die)
        pid = os.fork()
        if pid == 0:
            try:
                run()
            finally:
                os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def outcome(run):
    """All that does not hang on the clock."""
    state = torch.load(run / "last.ckpt", weights_only=True)
    state = {name: value for name, value in state.items() if name not in _APART}
    with (run / "metrics.csv").open(newline="") as file:
        rows = [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]
    summary = json.loads((run / "summary.json").read_text())
    files = sorted(path.name for path in run.iterdir() if path.name != ".lock")
    return state, load_file(run / "model.eqt"), rows, summary["errors"], summary["steps"], files


def assert_equal(a, b, where="run"):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for name in a:
            assert_equal(a[name], b[name], f"{where}/{name}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_equal(*pair, f"{where}/{i}")
    else:
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, where


def test_a_run_that_was_killed_ends_like_one_that_was_not(config, tmp_path, monkeypatch, every_step):
    settings = {"train": {"max_epochs": 4}, "data": {"valid_fraction": 0.2}}
    fit(config(**settings, output=str(tmp_path / "whole")))
    run = tmp_path / "run"
    killed(monkeypatch, Trainer, "step", 6, lambda: fit(config(**settings)))
    for owner, name, call in (
        (MetricsLog, "write", 1),
        (models, "save", 1),
        (Trainer, "step", 7),
        (trainer, "write_checkpoint", 2),
    ):
        (run / "model.eqt.partial").write_text("half a file")
        killed(monkeypatch, owner, name, call, lambda: fit(config(**settings), resume=run))
    fit(config(**settings), resume=run)
    expected = outcome(tmp_path / "whole")
    assert len(expected[2]) > 2
    assert_equal(expected, outcome(run))


def test_a_run_that_was_killed_after_its_last_step_ends_the_same(config, tmp_path, monkeypatch):
    fit(config(output=str(tmp_path / "whole")))
    killed(monkeypatch, Trainer, "run", 1, lambda: fit(config()))
    fit(config(), resume=tmp_path / "run")
    assert_equal(outcome(tmp_path / "whole"), outcome(tmp_path / "run"))
