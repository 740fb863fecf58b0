"""Peak memory in one unit on every system."""

import json
import subprocess
import sys
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
import yaml

from equitensor.training.memory import peak_memory

# What --check says, or the peak of all steps and validations; and what was needed before, most of it by modules.
CHECK_OR_RUN = """
import json, sys
from equitensor.training import plots, shards
from equitensor.training.config import load_config
from equitensor.training.fit import check, fit
from equitensor.training.memory import peak_memory

config, before, needed = load_config(sys.argv[2]), peak_memory(), []
enter, leave = shards.Shards.__enter__, shards.Shards.__exit__

def entered(self):
    enter(self)
    needed.append(before + self.peak_memory())
    return self

def left(self, *error):
    needed.append(peak_memory() + self.peak_memory())
    leave(self, *error)

shards.Shards.__enter__, shards.Shards.__exit__, plots._write = entered, left, lambda figure, path: path
told = check(config)["megabytes"] if sys.argv[1] == "check" else fit(config)
print(json.dumps([needed[0], told if sys.argv[1] == "check" else needed[1]]))
"""


def test_this_process_has_needed_what_it_holds():
    before = peak_memory()
    block = bytearray(300_000_000)
    block[::4096] = b"x" * len(block[::4096])
    assert peak_memory() > 300 and peak_memory() >= before


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_a_process_does_not_begin_with_the_memory_of_the_one_that_started_it():
    block = b"x" * 300_000_000
    program = "from equitensor.training.memory import peak_memory; print(peak_memory())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert float(said) < peak_memory() - 100 and len(block) < 1e6 * peak_memory()


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1), ("freebsd14", 1024)])
def test_units_of_unix_systems(monkeypatch, platform, unit):
    fake = SimpleNamespace(
        RUSAGE_SELF=0, RUSAGE_CHILDREN=-1, getrusage=lambda who: SimpleNamespace(ru_maxrss=5000 - who)
    )
    monkeypatch.setitem(sys.modules, "resource", fake)
    monkeypatch.setattr(sys, "platform", platform)
    if platform != "linux":
        assert peak_memory() == pytest.approx(5000 * unit / 1e6)
    assert peak_memory(children=True) == pytest.approx(5001 * unit / 1e6)


def test_windows_has_no_resource_module(monkeypatch):
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=7_000_000))
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=lambda: process))
    monkeypatch.setattr(sys, "platform", "win32")
    assert peak_memory() == 7.0
    with pytest.raises(NotImplementedError):
        peak_memory(children=True)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_needs_no_more_than_check_foretells(settings, frames, tmp_path, threads):
    """By a tenth, modules left out; molecules of two sizes, a third of them to validate on."""
    rng, several = np.random.default_rng(0), []
    for k in range(60):
        atoms = frames[k % len(frames)].copy()
        atoms.positions += 0.02 * rng.normal(size=atoms.positions.shape)
        if k % 3 == 0:
            atoms += atoms
            atoms.positions[len(atoms) // 2 :] += [0, 0, 9.0]
        atoms.info["energy"], atoms.arrays["forces"] = rng.normal(), rng.normal(size=(len(atoms), 3))
        several.append(atoms)
    ase.io.write(tmp_path / "several.xyz", several, format="extxyz")
    data = {"train": str(tmp_path / "several.xyz"), "group_key": None, "valid_by": "frame", "valid_fraction": 0.33}
    model = {"cutoff": 5.0, "channels": 32, "edge_channels": 32, "lmax": 2}
    train = {"batch_size": None, "batch_edges": 4000, "max_epochs": 2, "threads": threads}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings(data=data, model=model, train=train)))

    def needed(what):
        command = [sys.executable, "-c", CHECK_OR_RUN, what, str(tmp_path / "config.yaml")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        before, peak = next(json.loads(line) for line in said if line.startswith("["))
        return peak - before

    foretold = needed("check")
    assert foretold > 100
    assert needed("fit") < 1.1 * foretold
