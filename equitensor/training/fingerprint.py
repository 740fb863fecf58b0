"""A fingerprint of the data of a run, so that it is not resumed on others."""

import hashlib

import numpy as np

from equitensor.data import Snapshots
from equitensor.errors import InputError
from equitensor.graph.labels import names

_ALL = 50_000  # structures: up to here every one counts
_SAMPLE = 2_000
_GEOMETRY = {"z": "<i8", "pos": "<f8", "cell": "<f8", "pbc": "|u1"}
_MARKS = {"weight": "<f8", "fixed": "|u1"}


def fingerprint(snapshots: Snapshots) -> dict[str, int | str]:
    """{"structures", "geometry", "labels"}: their number, and digests of atoms with their places, and of labels.

    Exact up to 50 000 structures; beyond, of 2000 of them, of sizes and kinds of labels of all, and of the time at
    which a store was written. Names of files and the order of keys in them do not count.
    """
    count, index = len(snapshots), snapshots.index
    fields = dict.fromkeys(names(), "<f8") | _MARKS
    geometry, labels = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    geometry.update(np.ascontiguousarray(index.atoms, "<i8").tobytes())
    labels.update(np.ascontiguousarray(index.flags, "|u1").tobytes())
    chosen = range(count)
    if count > _ALL:
        chosen = np.linspace(0, count - 1, _SAMPLE).astype(int).tolist()
        labels.update(str(_written(snapshots)).encode())
    for i in chosen:
        structure = snapshots[i]
        _add(geometry, structure, _GEOMETRY)
        _add(labels, structure, fields)
    return {"structures": count, "geometry": geometry.hexdigest(), "labels": labels.hexdigest()}


def compare(snapshots: Snapshots, before: dict, run) -> None:
    """Raises InputError where the data are not those of which `before` is the fingerprint."""
    if what := difference(snapshots, before):
        raise InputError(
            f"--resume {run}: {snapshots.name} has changed since the run began ({what}). Give the run its data back, "
            f"or start a new one in another folder, with train.init_from={run}/model.eqt for its weights"
        )


def difference(snapshots: Snapshots, before: dict) -> str | None:
    """In what the data differ from those of which `before` is the fingerprint, in words."""
    now = fingerprint(snapshots)
    if now["structures"] != before["structures"]:
        return f"it holds {now['structures']} structures, {before['structures']} when the run began"
    if now["geometry"] != before["geometry"]:
        return "its structures, or their order, are others"
    return "its labels are others" if now["labels"] != before["labels"] else None


def _add(digest, structure, fields) -> None:
    for name, dtype in fields.items():
        value = getattr(structure, name)
        digest.update(b"-" if value is None else np.ascontiguousarray(value, dtype).tobytes())


def _written(snapshots) -> list[str]:
    """When each store among the data was written."""
    parts = getattr(snapshots, "parts", [snapshots])
    return [getattr(part, "created", "") for part in parts]
