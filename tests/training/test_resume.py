"""A run goes on as what it was, or says why it does not: its data, its folder, its disk."""

import copy
import resource

import ase.io
import numpy as np
import pytest

from equitensor import models
from equitensor.data import Memory
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.training import check, fit, setup, trainer
from equitensor.training.checkpoint import read_checkpoint, run_folder
from equitensor.training.fingerprint import fingerprint
from equitensor.training.trainer import Trainer


def relabelled(frames):
    frames = copy.deepcopy(frames)
    frames[20].calc.results["energy"] += 1e-3
    return frames


@pytest.mark.parametrize(
    "change, what",
    [
        (lambda frames: frames[:12], "it holds 12 structures, 24 when the run began"),
        (lambda frames: [*frames, frames[0]], "it holds 25 structures, 24 when the run began"),
        (lambda frames: frames[::-1], "its structures, or their order, are others"),
        (relabelled, "its labels are others"),
    ],
    ids=["shrunk", "appended", "reversed", "relabelled"],
)
def test_data_that_have_changed_are_refused(config, tmp_path, frames, change, what):
    fit(config(train={"max_epochs": 1}))
    before = (tmp_path / "run" / "last.ckpt").read_bytes()
    ase.io.write(tmp_path / "small.xyz", change(frames), format="extxyz")
    with pytest.raises(InputError, match=rf"small\.xyz has changed since the run began \({what}\)"):
        fit(config(), resume=tmp_path / "run")
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == before


def test_validation_data_that_have_changed_are_refused(config, tmp_path, frames):
    data = {"valid": str(tmp_path / "valid.xyz")}
    ase.io.write(tmp_path / "valid.xyz", frames[:4], format="extxyz")
    fit(config(train={"max_epochs": 1}, data=data))
    ase.io.write(tmp_path / "valid.xyz", frames[1:5], format="extxyz")
    with pytest.raises(InputError, match=r"valid\.xyz has changed since the run began"):
        fit(config(data=data), resume=tmp_path / "run")


def test_what_the_data_gave_at_the_start_is_kept(config, tmp_path, monkeypatch):
    """Nothing is fitted, counted or split again."""
    fit(config(train={"max_epochs": 1}))
    first = models.read_header(tmp_path / "run" / "model.eqt")
    split = (tmp_path / "run" / "split.json").read_bytes()
    for name in ("statistics", "resolve_e0s", "split_by_group", "default_limits"):
        monkeypatch.setattr(setup, name, None)
    assert fit(config(), resume=tmp_path / "run")["epochs"] == 2
    second = models.read_header(tmp_path / "run" / "model.eqt")
    for name in ("e0s", "scale", "shift", "settings"):
        assert first[name] == second[name]
    assert (tmp_path / "run" / "split.json").read_bytes() == split


def test_a_fingerprint_is_of_atoms_and_labels_not_of_names():
    def structure(**changes):
        values = {"z": np.array([6, 8]), "pos": np.eye(2, 3), "cell": np.zeros((3, 3)), "pbc": np.zeros(3, bool)}
        return Structure(**values | {"energy": 1.0, "source": "a.xyz, frame 0"} | changes)

    def of(**changes):
        return fingerprint(Memory([structure(**changes)]))

    assert of() == of(source="b.xyz, frame 7")
    for changes in ({"pos": np.eye(2, 3) + 1e-9}, {"z": np.array([8, 6])}, {"cell": np.eye(3)}):
        assert of(**changes)["geometry"] != of()["geometry"]
    for changes in ({"energy": 1.5}, {"forces": np.zeros((2, 3))}, {"weight": 2.0}, {"energy": None}):
        assert of(**changes)["labels"] != of()["labels"]


def test_one_run_is_not_trained_twice_at_once(config, tmp_path):
    fit(config(train={"max_epochs": 1}))
    with run_folder(config(), tmp_path / "run"):
        with pytest.raises(InputError, match=r"run: another process trains in it"):
            fit(config(), resume=tmp_path / "run")
        with pytest.raises(InputError, match=r"run: another process trains in it"):
            fit(config())
    assert fit(config(), resume=tmp_path / "run")["epochs"] == 2


def test_a_run_stopped_before_its_first_checkpoint_is_started_again(config, tmp_path, stopped):
    stopped(config(), "_checkpoint")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.yaml", "split.json", ".lock"}
    with pytest.raises(InputError, match="stopped before its first checkpoint: start it again without --resume"):
        fit(config(), resume=tmp_path / "run")
    assert fit(config())["epochs"] == 2


@pytest.mark.parametrize("names", [["config.yaml.partial"], ["config.yaml", "split.json.partial"]])
def test_a_run_killed_while_it_wrote_its_config_is_started_again(config, tmp_path, names):
    (tmp_path / "run").mkdir()
    for name in [*names, ".lock"]:
        (tmp_path / "run" / name).write_text("")
    assert fit(config(train={"max_epochs": 1}))["epochs"] == 1


def test_a_folder_with_a_config_alone_is_not_that_of_a_run(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("mine")
    with pytest.raises(InputError, match="run is not empty"):
        fit(config())
    assert (tmp_path / "run" / "config.yaml").read_text() == "mine"


@pytest.mark.parametrize("start", [check, fit])
@pytest.mark.parametrize("device", ["mps", "cuda:0", "xpu"])
def test_a_device_is_refused_before_data_are_read(config, tmp_path, monkeypatch, start, device):
    monkeypatch.setitem(fit.__globals__, "open_data", None)
    with pytest.raises(InputError, match=f"train.device is '{device}': say auto, cpu or cuda"):
        start(config(train={"device": device}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["_validate", "step"])
def test_a_run_stopped_in_its_first_step_is_resumed(config, tmp_path, stopped, name):
    stopped(config(), name)
    assert read_checkpoint(tmp_path / "run")["step"] == 0
    assert fit(config(), resume=tmp_path / "run")["steps"] == 8


@pytest.fixture
def full_disk():
    """full_disk(size): from now on no file can grow beyond `size` bytes, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", ["last.ckpt", "model.eqt", "metrics.csv"])
def test_a_disk_that_fills_leaves_the_run_whole(config, tmp_path, monkeypatch, every_step, full_disk, name):
    """The fourth step finds no room: what was there stays, and the run goes on from it when there is room again."""
    run, step = tmp_path / "run", Trainer.step

    def filling(self, *arguments):
        result = step(self, *arguments)
        if self.progress.step == 5:
            full_disk((run / name).stat().st_size // 2 if name != "metrics.csv" else (run / name).stat().st_size + 9)
            if name != "last.ckpt":  # only this file meets the limit
                monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 1e9)
        return result

    monkeypatch.setattr(Trainer, "step", filling)
    message = rf"run/{name} could not be written \(.*\): is the disk full or read-only\? .* --resume .*run$"
    with pytest.raises(InputError, match=message):
        fit(config())
    full_disk(resource.RLIM_INFINITY)
    assert not list(run.glob("*.partial"))
    assert read_checkpoint(run)["step"] in (4, 5)
    models.load(run / "model.eqt")
    lines = (run / "metrics.csv").read_text().splitlines()
    assert {line.count(",") for line in lines} == {lines[0].count(",")}
    monkeypatch.setattr(Trainer, "step", step)
    assert fit(config(), resume=run)["steps"] == 8


def test_a_disk_that_is_full_from_the_start(config, tmp_path, full_disk, monkeypatch):
    write = trainer.write_checkpoint

    def on_a_full_disk(path, state):
        full_disk(100)
        write(path, state)

    monkeypatch.setattr(trainer, "write_checkpoint", on_a_full_disk)
    with pytest.raises(InputError, match=r"last\.ckpt could not be written .* Nothing was trained yet"):
        fit(config())
    full_disk(resource.RLIM_INFINITY)  # pytest's own output may go to a file
