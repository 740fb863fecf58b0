"""A run's state on disk: complete, written whole or not at all."""

import json
import os
from pathlib import Path

import torch
import yaml

from equitensor.errors import InputError
from equitensor.training.config import Config, validate

FREE_TO_CHANGE = {"train.max_time", "train.max_epochs", "train.device", "train.threads", "train.loggers", "output"}


def write_checkpoint(path: Path, state: dict) -> None:
    """Tensors and plain values only, so that it is read back without unpickling code."""
    partial = path.with_name(path.name + ".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def read_checkpoint(run: Path) -> dict:
    """The state of the run in a folder. Raises InputError where there is none, or a damaged one."""
    path = run / "last.ckpt"
    if not path.is_file():
        raise InputError(f"{run} holds no last.ckpt: nothing to resume; start a new run without --resume")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error}): the run cannot be resumed") from None


def prepare_folder(config: Config, resume: Path | None) -> Path:
    """The run folder, new or empty; for a resumed run, its own, after its config has been compared."""
    if resume is not None:
        _compare(config, resume)
        return resume
    folder = Path(config.output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} is not empty: choose another folder (output=...), or go on with that run (--resume {folder})"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_inputs(folder: Path, config: Config, split: dict) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(config.resolved(), sort_keys=False))
    (folder / "split.json").write_text(json.dumps(split))


def read_split(folder: Path) -> dict:
    return json.loads((folder / "split.json").read_text())


def saved_config(run: Path) -> Config:
    """The resolved config of a run. Raises InputError where the folder is not that of a run."""
    path = run / "config.yaml"
    if not path.is_file():
        raise InputError(f"{run} is not the folder of a run: it holds no config.yaml")
    return validate(yaml.safe_load(path.read_text()), str(path))


def _compare(config: Config, run: Path) -> None:
    before, now = (dict(_flat(c.resolved())) for c in (saved_config(run), config))
    changed = [key for key in now if before.get(key) != now[key] and key not in FREE_TO_CHANGE]
    if changed:
        listed = "; ".join(f"{key} was {before.get(key)!r}, is {now[key]!r}" for key in changed)
        raise InputError(
            f"--resume {run}: the config differs from that of the run ({listed}); only "
            f"{', '.join(sorted(FREE_TO_CHANGE))} may change. Start a new run, with train.init_from for its weights"
        )


def _flat(values: dict, prefix: str = ""):
    for key, value in values.items():
        if isinstance(value, dict) and prefix == "" and key != "e0s":
            yield from _flat(value, f"{key}.")
        else:
            yield prefix + key, value
