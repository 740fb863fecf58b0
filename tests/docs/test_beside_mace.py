"""MACE beside ours on organic molecules: its clock, its frames, the table of the page."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest

from equitensor.graph import Structure

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def module(monkeypatch):
    """module(name) -> a script of benchmarks/ or a part of the site."""
    for folder in ("benchmarks", "docs/site"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    return importlib.import_module


@pytest.fixture
def clock(module):
    """clock(seconds, epochs) -> a Clock on a time of its own, `passed`."""
    of = module("mace_timed").Clock

    def made(seconds, epochs):
        passed = [100.0]  # what was before does not count
        clock = of(seconds, epochs, now=lambda: passed[0])
        clock.passed = passed
        return clock

    return made


def loader(count):
    return [SimpleNamespace(name=i, num_graphs=2) for i in range(count)]


def train(clock, loader, seconds_of_step):
    """One epoch; names of its batches."""
    names = []
    for batch in clock.epoch(loader):
        names.append(batch.name)
        clock.passed[0] += seconds_of_step
    return names


def test_epochs_share_the_time_and_go_on_with_the_data(clock):
    clock, batches = clock(12.0, 4), loader(5)
    epochs = [train(clock, batches, 1.0) for _ in range(4)]
    assert epochs == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1]]
    assert clock.report() == {"epochs": 4, "structures": 24, "seconds": 12.0}


def test_validation_is_part_of_the_time(clock):
    clock, batches = clock(12.0, 4), loader(100)
    counts = []
    for _ in range(4):
        counts.append(len(train(clock, batches, 0.5)))
        clock.passed[0] += 1.0
    assert counts == [6, 4, 4, 4] and clock.report()["seconds"] == 13.0


def test_an_epoch_has_a_step_even_where_the_time_is_over(clock):
    clock, batches = clock(2.0, 2), loader(9)
    assert [len(train(clock, batches, 5.0)) for _ in range(2)] == [1, 1]


def test_mace_has_the_frames_and_labels_of_the_store(module, tmp_path):
    organics, rng = module("organics"), np.random.default_rng(0)
    pos, forces = rng.normal(size=(2, 2, 3, 3))
    frames = [
        Structure(np.array([8, 1, 1]), pos[i], np.zeros((3, 3)), np.zeros(3, dtype=bool), -100.0 - i, forces[i])
        for i in range(2)
    ]
    organics.write_frames(frames, tmp_path / "train.xyz")
    written = ase.io.read(tmp_path / "train.xyz", ":")
    for frame, atoms in zip(frames, written, strict=True):
        assert atoms.calc is None and not atoms.pbc.any() and atoms.numbers.tolist() == [8, 1, 1]
        assert atoms.info[organics.MACE["energy_key"]] == frame.energy
        np.testing.assert_allclose(atoms.arrays[organics.MACE["forces_key"]], frame.forces, atol=1e-7)
        np.testing.assert_allclose(atoms.positions, frame.pos, atol=1e-7)


def result(beside, model, seconds):
    """Of which every error is as many as the seconds."""
    environment = {"machine": {"cpu": "a processor"}, "date": "2026-01-01", "versions": {"torch": "2"}}
    tests = {test: dict.fromkeys(names, float(seconds)) for test, names in beside.SHOWN.items()}
    rest = {"environment": environment, "frames": {"train": 50}, "processor_time_s": seconds}
    return {"model": model, "tests": tests, **rest}


def test_the_section_has_the_last_result_of_each_model(module, monkeypatch, tmp_path):
    beside = module("beside_mace")
    monkeypatch.setattr(beside, "RESULTS", tmp_path / "organics.json")
    assert beside.page() == ""
    runs = (("equitensor", 1), ("MACE", 7), ("equitensor", 8))
    beside.RESULTS.write_text(json.dumps([result(beside, *run) for run in runs]))
    page = beside.page()
    assert page.startswith("## ") and "\n\n| MAE | equitensor | MACE |\n| ---" in page
    assert "\n| unseen pairs: interaction energy, kcal/mol | 8 | 7 |\n" in page
