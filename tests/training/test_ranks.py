"""Two ranks on one machine are one run with the joint batch."""

import copy
import subprocess
import sys
from functools import partial

import ase.io
import pytest
import torch
import yaml

from equitensor import models
from equitensor.training import fit
from equitensor.training.config import validate


def test_two_ranks_are_one_run_with_twice_the_batch(settings, frames, crystal, tmp_path):
    """Also where one of them has more labels than the other, or none of a kind."""
    pytest.importorskip("torch.distributed.run")
    mixed = [*copy.deepcopy(frames[:10]), *(crystal(i, stress=i % 3 == 0) for i in range(8))]
    for atoms in mixed[::3]:
        atoms.calc.results.pop("energy")
    ase.io.write(tmp_path / "mixed.xyz", mixed, format="extxyz")
    e0s = {"H": -13.6, "C": -1035.0, "N": -1485.0, "O": -2043.0}
    data = {"train": str(tmp_path / "mixed.xyz"), "group_key": None, "valid_fraction": 0.1, "e0s": e0s}
    loss = {"stress": 50.0, "huber": None}
    train = {"optimizer": "adam", "max_epochs": 2, "batch_size": 4}
    settings = partial(settings, data=data, loss=loss)
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
