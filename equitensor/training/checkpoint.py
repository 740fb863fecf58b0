"""A run's state on disk: complete, written whole or not at all."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from equitensor.data.yaml_values import format_yaml, parse_yaml
from equitensor.errors import InputError
from equitensor.training.config import Config, validate
from equitensor.whole_file import reason, whole_file, write_whole

FREE_TO_CHANGE = {
    "train.max_time",
    "train.max_epochs",
    "train.patience",
    "data.num_workers",
    "train.device",
    "train.threads",
    "train.loggers",
    "output",
}


LOCK = ".lock"
_BEGUN = {"config.yaml.partial", "split.json", "split.json.partial"}  # a user's folder may hold a config.yaml
UNSTARTED = {"config.yaml", *_BEGUN, "last.ckpt.partial", LOCK}  # all that is there before the first checkpoint


def write_checkpoint(path: Path, state: dict) -> None:
    """Tensors and plain values only, so that it is read back without unpickling code. Raises WriteError."""
    with whole_file(path) as partial:
        torch.save(state, partial)


def read_checkpoint(run: Path) -> dict:
    """The state of the run in a folder. Raises InputError where there is none, or a damaged one."""
    path = run / "last.ckpt"
    if not path.is_file():
        if _unstarted(run):
            raise InputError(f"{run} was stopped before its first checkpoint: start it again without --resume")
        raise InputError(f"{run} holds no last.ckpt, nothing to resume: {_anew(run)}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} is damaged, it cannot be read ({reason(error)}): {_anew(run)}") from None


def _anew(run: Path) -> str:
    """What to do with a run that cannot go on."""
    weights = f", from its best weights with train.init_from={run / 'model.eqt'}"
    return "start a new run in another folder (output=...)" + weights * (run / "model.eqt").is_file()


def _unstarted(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir()}
    return bool(names & _BEGUN) and names <= UNSTARTED


@contextlib.contextmanager
def run_folder(config: Config, resume: Path | None) -> Iterator[Path]:
    """The run folder, new or empty, or for a resumed run its own, after its config has been compared; locked.

    A folder in which a run was stopped before its first checkpoint counts as empty. Raises InputError where it is not,
    or where another process trains in it.
    """
    folder = Path(config.output) if resume is None else resume
    if resume is not None:
        _compare(config, resume)
    elif folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another folder (output=...)")
    elif folder.is_dir() and any(folder.iterdir()) and not (folder / LOCK).exists():
        _refuse_full(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"{folder}: another process trains in it: wait for that, or choose another folder") from None
    with lock:
        if resume is None:
            _refuse_full(folder)
        for unfinished in folder.glob("*.partial"):  # of a run that was killed
            unfinished.unlink()
        yield folder


def _refuse_full(folder: Path) -> None:
    if {path.name for path in folder.iterdir()} <= {LOCK} or _unstarted(folder):
        return
    resume = f", or go on with that run (--resume {folder})" if (folder / "last.ckpt").is_file() else ""
    raise InputError(f"{folder} is not empty: choose another folder (output=...){resume}")


def write_inputs(folder: Path, config: Config, split: dict) -> None:
    """The resolved config and the split of a run that begins. Raises WriteError."""
    write_whole(folder / "config.yaml", format_yaml(config.resolved()))
    write_whole(folder / "split.json", json.dumps(split))


def saved_config(run: Path) -> Config:
    """The resolved config of a run. Raises InputError where the folder is not that of a run."""
    path = run / "config.yaml"
    if not path.is_file():
        raise InputError(f"{run} is not the folder of a run: it holds no config.yaml")
    try:
        values = parse_yaml(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not YAML: {error}") from None
    return validate(values, str(path))


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
