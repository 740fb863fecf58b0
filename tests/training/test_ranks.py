"""Two ranks on one machine are one run with the joint batch."""

import subprocess
import sys

import pytest
import torch
import yaml

from equitensor import models
from equitensor.training import fit
from equitensor.training.config import validate


def test_two_ranks_are_one_run_with_twice_the_batch(settings, tmp_path):
    pytest.importorskip("torch.distributed.run")
    train = {"optimizer": "adam", "max_epochs": 2, "batch_size": 4}
    together = settings(train=train, output=str(tmp_path / "together"))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(together))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "equitensor", "train", str(tmp_path / "train.yaml"), "train.threads=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Errors of the best model") == 1  # one rank speaks
    alone = settings(train=train | {"batch_size": 8}, output=str(tmp_path / "alone"))
    assert fit(validate(alone, "test"))["steps"] == 4
    weights = [models.load(tmp_path / name / "model.eqt").state_dict() for name in ("together", "alone")]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-7, atol=1e-9)
