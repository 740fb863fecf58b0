"""The process of a shard lives and dies with its owner, and what goes wrong in it is said here."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from equitensor import models
from equitensor.errors import InputError
from equitensor.graph import AtomicGraph, Structure
from equitensor.training.shard_process import ShardProcess, give_back, taken
from equitensor.training.shards import Shards

SETTINGS = {"cutoff": 3.0, "channels": 4, "edge_channels": 4, "lmax": 1, "layers": 2, "num_radial": 4}


@pytest.fixture
def model():
    return models.build(SETTINGS, [1, 6, 7, 8], dict.fromkeys([1, 6, 7, 8], 0.0)).double()


@pytest.fixture
def graphs(frames):
    made = [AtomicGraph.from_structure(Structure.from_ase(atoms), 3.0) for atoms in frames[:2]]
    return [graph.replace(energy=torch.zeros(1, dtype=torch.float64)) for graph in made]


@pytest.fixture
def shards(model):
    with Shards(2, 2, model) as shards:
        yield shards


def test_an_error_that_the_user_can_mend_stays_one(shards, model, graphs):
    strange = graphs[0].replace(z=torch.full_like(graphs[0].z, 92))
    for _ in range(2):  # the process goes on
        with pytest.raises(InputError, match="knows the elements H, C, N, O, not U"):
            shards.residuals(model.eval(), [strange, graphs[1]])
        assert len(shards.residuals(model.eval(), graphs)["energy"]) == 2


def test_a_process_that_is_killed_is_named_and_replaced(model, graphs):
    with pytest.raises(InputError, match=r"was ended by signal 9.*--resume"), Shards(2, 2, model) as shards:
        os.kill(shards.processes[0].process.pid, signal.SIGKILL)
        shards.residuals(model.eval(), graphs)
    with Shards(2, 2, model) as shards:
        assert len(shards.residuals(model.eval(), graphs)["energy"]) == 2


def test_what_is_interrupted_leaves_no_answer_behind(shards, model, graphs):
    """One that still computes is not given to the next run."""
    process = shards.processes[0]
    process.ask("peak_memory")
    give_back([process])
    (other,) = shards.processes = taken(1)
    assert other is not process and process.process.poll() is not None


def test_it_ends_with_its_owner_however_that_ends():
    code = "import os, time\nfrom equitensor.training.shard_process import ShardProcess\n"
    code += "p = ShardProcess()\np.ask('peak_memory')\np.answer()\nprint(p.process.pid, flush=True)\ntime.sleep(60)\n"
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.communicate()
    end = time.monotonic() + 60
    while _runs(pid):
        assert time.monotonic() < end
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return sys.platform == "darwin"


def test_ctrl_c_is_left_to_the_owner():
    process = ShardProcess()
    process.ask("peak_memory")
    assert process.answer() > 10
    process.process.send_signal(signal.SIGINT)
    process.ask("peak_memory")
    assert process.answer() > 10
    process.end()


def test_without_a_copy_of_the_model_shards_follow_one_another(model, graphs, caplog):
    class Local(nn.Module):
        """No other process can find this class."""

        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, graph, **options):
            return self.inner(graph, **options)

    local = Local().eval()
    with Shards(2, 2, local) as shards:
        assert not shards.processes
        errors = shards.residuals(local, graphs)
    assert len(errors["energy"]) == 2 and "shards of a batch follow one another" in caplog.text
