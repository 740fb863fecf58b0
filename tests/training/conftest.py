"""Small data and a small model, trained in a second or two."""

import shutil

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from equitensor.training import fit, trainer
from equitensor.training.config import validate
from equitensor.training.trainer import Trainer


@pytest.fixture(scope="session")
def frames(alanine_data):
    """24 frames of alanine from three trajectories, with their labels."""
    frames = ase.io.read(alanine_data / "train.xyz", ":")
    return [atoms for k in (0, 40, 80) for atoms in frames[k : k + 8]]


@pytest.fixture
def small_data(frames, tmp_path):
    path = tmp_path / "small.xyz"
    ase.io.write(path, frames, format="extxyz")
    return path


@pytest.fixture
def settings(small_data, tmp_path):
    """settings(**sections) -> the values of a config on the small data."""

    def make(**changes):
        values = {
            "data": {"train": str(small_data), "group_key": "trajectory", "valid_fraction": 0.4},
            "model": {"cutoff": 3.0, "channels": 4, "edge_channels": 4, "lmax": 1, "layers": 2, "num_radial": 4},
            "train": {"batch_size": 4, "max_epochs": 2, "device": "cpu", "dtype": "float64"},
            "output": str(tmp_path / "run"),
        }
        for section, change in changes.items():
            values[section] = values.get(section, {}) | change if isinstance(change, dict) else change
        return values

    return make


@pytest.fixture
def config(settings):
    """config(**sections) -> the typed config."""
    return lambda **changes: validate(settings(**changes), "the test's config")


@pytest.fixture
def pictures():
    """The closing pictures of a run are drawn."""


@pytest.fixture(autouse=True)
def _no_pictures_unless_asked_for(request, monkeypatch):
    """They take three quarters of a run that is as short as these."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("equitensor.training.plots._write", lambda figure, path: path)


@pytest.fixture(autouse=True)
def _as_many_threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=[1, 2], ids=["one_shard", "two_shards"])
def shards(request):
    """A batch on one thread, and dealt out over two: sums in one order each, so runs are equal to the last bit.

    Of the module, so that all tests on two threads follow each other and share the process of the second shard, which
    takes seconds to start.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def every_step(monkeypatch):
    """A checkpoint at every step and a validation after every epoch, whatever the clock says."""
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", -1.0)
    monkeypatch.setattr(trainer, "VALIDATION_SHARE", 1e12)


@pytest.fixture
def stopped(monkeypatch):
    """stopped(config, name="step", calls=0): a run that Ctrl-C stops after so many calls of a method of Trainer."""

    def run(config, name="step", calls=0):
        method, done = getattr(Trainer, name), []

        def stopping(self, *arguments):
            if len(done) == calls:
                raise KeyboardInterrupt
            done.append(name)
            return method(self, *arguments)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Trainer, name, stopping)
            fit(config)

    return run


@pytest.fixture
def crystal():
    """crystal(seed=0, stress=True) -> diamond of two atoms, displaced a little, with labels."""

    def make(seed=0, stress=True):
        rng = np.random.default_rng(seed)
        atoms = bulk("C", a=3.6)
        atoms.positions += 0.05 * rng.normal(size=(2, 3))
        labels = {"energy": -2072.0 + rng.normal(), "forces": rng.normal(size=(2, 3))}
        if stress:
            labels["stress"] = 0.1 * rng.normal(size=6)
        atoms.calc = SinglePointCalculator(atoms, **labels)
        return atoms

    return make


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """Where the file of the fixture `pretrained` is copied from, once a test has made it."""
    return tmp_path_factory.mktemp("pretrained") / "model.eqt"


@pytest.fixture
def pretrained(config, kept, tmp_path):
    """A model file of H, C, N, O, with ZBL, of other sizes than the defaults."""
    first = tmp_path / "first"
    if kept.exists():
        first.mkdir()
        shutil.copy(kept, first)
    else:
        fit(config(output=str(first), train={"max_epochs": 1}, model={"zbl": True}))
        shutil.copy(first / "model.eqt", kept)
    return first / "model.eqt"


@pytest.fixture
def tuning(settings, config, pretrained, tmp_path):
    """tuning(**sections) -> a config that starts from it, with nothing in its model section."""

    def make(**changes):
        changes["train"] = {"init_from": str(pretrained), "lr": 1e-3, **changes.get("train", {})}
        changes["model"] = changes.get("model", {})
        values = settings(**changes)
        values["model"] = changes["model"]
        return validate(values, "the test's config")

    return make
