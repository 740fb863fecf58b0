"""Several ranks on one machine are one run with the joint batch; one that ends ends the others."""

import copy
import os
import signal
import socket
import subprocess
import sys

import ase.io
import pytest
import torch
import yaml

from equitensor import models
from equitensor.errors import InputError
from equitensor.training import fit
from equitensor.training.checkpoint import read_checkpoint
from equitensor.training.config import validate
from equitensor.training.ranks import _as_torchrun_says_it

MAIN = """
import sys
from equitensor.cli import main
from equitensor.training import plots
plots._write = lambda figure, path: path  # most of the time of a run as short as these
{change}
sys.exit(main(sys.argv[1:]))
"""
STOPPED = """
from equitensor.training import trainer
step = trainer.Trainer.step
trainer.CHECKPOINT_EVERY = -1.0
def stopping(self, *arguments):
    if self.progress.step == 7:
        raise KeyboardInterrupt
    return step(self, *arguments)
trainer.Trainer.step = stopping
"""
DYING = """
import os, signal
from equitensor.training.trainer import Trainer
step = Trainer.step
def dying(self, *arguments):
    if self.ranks.rank == 1 and self.progress.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *arguments)
Trainer.step = dying
"""


@pytest.fixture
def mixed(settings, frames, crystal, tmp_path):
    """mixed(name, **train) -> a config on molecules and crystals, some with more labels than others, or none of a kind.

    Four or five steps an epoch for two ranks.
    """
    mixed = [*copy.deepcopy(frames[:10]), *(crystal(i, stress=i % 3 == 0) for i in range(16))]
    for atoms in mixed[::3]:
        atoms.calc.results.pop("energy")
    for atoms in mixed[1::5]:
        atoms.calc.results.pop("forces")
    ase.io.write(tmp_path / "mixed.xyz", mixed, format="extxyz")
    data = {"train": str(tmp_path / "mixed.xyz"), "group_key": None, "valid_fraction": 0.2}
    batches = {"batch_size": None, "batch_edges": 180, "max_epochs": 5}

    def make(name, **train):
        return settings(data=data, train=batches | train, output=str(tmp_path / name))

    return make


def torchrun(ranks, values, path, *options, change=""):
    """The finished process."""
    pytest.importorskip("torch.distributed.run")
    path.write_text(yaml.safe_dump(values))
    path.with_suffix(".py").write_text(MAIN.format(change=change))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += [str(path.with_suffix(".py")), "train", str(path), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def assert_same(one, other):
    """Weights, averages and the optimiser's state, to 1e-9; errors on the validation set."""
    states = [read_checkpoint(run) for run in (one, other)]
    assert states[0]["step"] == states[1]["step"] >= 20
    for part in ("model", "ema"):
        for name, value in states[0][part].items():
            torch.testing.assert_close(states[1][part][name], value, rtol=1e-9, atol=1e-9)
    headers = [models.read_header(run / "model.eqt")["provenance"]["validation"] for run in (one, other)]
    assert headers[0] == pytest.approx(headers[1], rel=1e-8)


def test_two_ranks_are_one_with_the_joint_batch(mixed, tmp_path):
    pytest.importorskip("torch.distributed.run")
    options = {"clip": 50.0}
    done = torchrun(2, mixed("together", **options), tmp_path / "train.yaml", "train.threads=2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Errors of the best model") == 1  # one rank speaks
    assert "batches per step: 2, on 2 ranks" in done.stdout
    fit(validate(mixed("alone", accumulate=2, **options), "test"))
    assert_same(tmp_path / "alone", tmp_path / "together")


def test_two_ranks_are_one_with_twice_the_batch(mixed, tmp_path):
    pytest.importorskip("torch.distributed.run")
    small = {"batch_edges": None, "max_epochs": 10}
    done = torchrun(2, mixed("together", batch_size=5, **small), tmp_path / "train.yaml", "train.threads=1")
    assert done.returncode == 0, done.stderr
    fit(validate(mixed("alone", batch_size=10, **small), "test"))
    assert_same(tmp_path / "alone", tmp_path / "together")


def test_a_run_goes_on_with_another_number_of_ranks(mixed, tmp_path):
    """Stopped within an epoch on two ranks, then on three, of which one has nothing to do: the steps are the same."""
    run, path = tmp_path / "run", tmp_path / "train.yaml"
    fit(validate(mixed("whole", accumulate=2), "test"))
    assert torchrun(2, mixed("run"), path, change=STOPPED).returncode != 0
    assert read_checkpoint(run)["step"] == 7
    done = torchrun(3, mixed("run"), path, "--resume", str(run))
    assert done.returncode == 0, done.stderr
    assert "1 ranks have nothing to do: the run began with 2 batches a step" in done.stdout
    assert_same(tmp_path / "whole", run)


def test_one_of_two_ranks_checks(mixed, tmp_path):
    done = torchrun(2, mixed("run"), tmp_path / "train.yaml", "--check", "train.threads=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("largest batch: ") == done.stdout.count("MB on each rank. Everything is in order.") == 1
    assert "batches per step: 2, on 2 ranks" in done.stdout
    assert not (tmp_path / "run").exists()


SRUN = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "127.0.0.1"}


def test_a_rank_that_dies_ends_the_others_with_a_message(mixed, tmp_path):
    """Started as srun starts them, by nobody who would end the rest."""
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(mixed("run", max_epochs=50)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [
        sys.executable,
        "-c",
        MAIN.format(change=DYING),
        "train",
        str(tmp_path / "train.yaml"),
        "train.threads=1",
    ]
    ranks = []
    for rank in "01":
        environment = os.environ | SRUN | {"MASTER_PORT": port, "SLURM_PROCID": rank, "SLURM_LOCALID": rank}
        ranks.append(subprocess.Popen(command, env=environment, stdout=-3, stderr=-1, text=True))
    try:
        (_, said), _ = [rank.communicate(timeout=500) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert ranks[1].returncode == -signal.SIGKILL
    assert ranks[0].returncode == 2
    last = said.splitlines()[-1]
    assert last.startswith("equitensor: rank 0 of 2 cannot reach the others, one of which has ended, so it ends too")
    assert "--resume" in last and "Traceback" not in said
    assert fit(validate(mixed("run", max_epochs=1), "test"), resume=tmp_path / "run")["epochs"] == 1


def test_what_srun_says_is_read():
    slurm = SRUN | {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "gpu[07-08]"}
    slurm |= {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}
    ranks = _as_torchrun_says_it(slurm)
    assert (ranks["RANK"], ranks["WORLD_SIZE"], ranks["LOCAL_WORLD_SIZE"]) == ("5", "8", "4")
    assert ranks["MASTER_ADDR"] == "gpu07"
    for uneven in ("5,3", "3(x2),1(x2)"):
        with pytest.raises(InputError, match="srun started 8 tasks on 2 nodes: give every node as many"):
            _as_torchrun_says_it(slurm | {"SLURM_STEP_TASKS_PER_NODE": uneven})
