"""The parts of a run's data as they were split, and the errors of its model on them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from equitensor.data import Snapshots, open_snapshots
from equitensor.data.sequence import evenly_spaced
from equitensor.errors import InputError
from equitensor.training import Evaluation, evaluate
from equitensor.training.checkpoint import read_checkpoint
from equitensor.training.config import Config
from equitensor.training.fingerprint import difference
from equitensor.training.origin import Origin
from equitensor.training.setup import MOST_TRAIN, plain_source, with_replay


@dataclass
class Part:
    """name, as in the closing table; snapshots and those that belong to it; why it cannot be evaluated, where it
    cannot; doubt, where its data could not be compared with those of the run."""

    name: str
    snapshots: Any = None
    indices: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    why_not: str = ""
    doubt: str = ""


def parts(folder: Path, config: Config) -> Iterator[Part]:
    """Those held out, then the training data. Data that have moved or changed since are no error, but said."""
    split, before, data = _split(folder), _fingerprints(folder), config.data
    own = _opened("train", data.train, config)
    train = split["train"]
    if own.snapshots is not None:
        train = train[train < len(own.snapshots)]  # those behind are replayed
    own = _with_indices(own, train)
    own = _compared(own, _with_replayed(config, own), before.get("train"))
    if data.valid is None:
        valid = _with_indices(replace(own, name="valid"), split["valid"])
    else:
        valid = _with_indices(_opened("valid", data.valid, config), split["valid"])
        valid = _compared(valid, valid.snapshots, before.get("valid"))
    if len(split["valid"]):
        yield valid
    named = data.test if isinstance(data.test, dict) else {} if data.test is None else {"test": data.test}
    for name, source in named.items():
        test = _opened(name, source, config)
        yield test if test.snapshots is None else replace(test, indices=np.arange(len(test.snapshots)))
    yield own


def evaluated(part: Part, engine, most: int) -> Evaluation:
    """Errors on the structures of a part, on `most` of these, evenly spaced, where it has more. Raises InputError."""
    most = min(most, MOST_TRAIN) if part.name == "train" else most
    model = engine if engine.backend == "core" else engine.model  # torch is quicker with several structures at once
    indices = evenly_spaced(part.indices, most)
    return evaluate(model, part.snapshots, indices, d3=getattr(engine, "d3", None))


def _opened(name: str, source, config: Config) -> Part:
    try:
        return Part(name, open_snapshots(plain_source(source), **config.data.reading_options()))
    except (InputError, OSError) as error:
        return Part(name, why_not=str(error))


def _with_indices(part: Part, indices: np.ndarray) -> Part:
    count = 0 if part.snapshots is None else len(part.snapshots)
    if part.snapshots is not None and len(indices) and indices.max() >= count:
        why_not = f"{part.snapshots.name} holds {count} structures, fewer than when the run began"
        return replace(part, indices=indices, why_not=why_not)
    return replace(part, indices=indices)


def _compared(part: Part, snapshots: Snapshots | None, before: dict | None) -> Part:
    """With what the comparison of all snapshots of the part with a fingerprint says."""
    if part.why_not:
        return part
    if before is None or snapshots is None:
        why = "the run's last.ckpt, which knows, is not there" if before is None else "what it replayed has moved"
        return replace(part, doubt=f"whether its data are still those of the run could not be checked: {why}")
    what = difference(snapshots, before)
    return replace(part, why_not=f"{part.snapshots.name} has changed since the run began ({what})") if what else part


def _with_replayed(config: Config, own: Part) -> Snapshots | None:
    """The training data and what was replayed behind them; None where that has moved."""
    try:
        return None if own.why_not else with_replay(config, own.snapshots, own.indices)
    except (InputError, OSError):
        return None


def _split(folder: Path) -> dict[str, np.ndarray]:
    try:
        split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
        return {name: np.asarray(split[name], np.int64) for name in ("train", "valid")}
    except FileNotFoundError:
        raise InputError(f"{folder} holds no split.json: which structures were held out is not known") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'split.json'} is damaged: {error}") from None


def _fingerprints(folder: Path) -> dict[str, dict]:
    """Of the data that the run began with; none where its checkpoint is gone."""
    try:
        return Origin.of(read_checkpoint(folder), folder).fingerprints
    except InputError:
        return {}
