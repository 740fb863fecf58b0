"""Training and validation parts: whole trajectories where frames belong to any, else frames."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from equitensor.data.sequence import Snapshots, evenly_spaced
from equitensor.errors import InputError

_MOST_READ = 20_000  # groups whose elements are looked up; among more, none is likely to be alone with one
_MOST_COMPARED = 50_000  # frames, evenly spaced, among which identical ones are looked for
_NEIGHBOURS_READ = 50
_SAME_PLACE = 1e-4  # Angstrom


@dataclass(frozen=True)
class Split:
    """Sorted indices (int64) of the structures for training and for validation."""

    train: np.ndarray
    valid: np.ndarray


def usable(snapshots: Snapshots) -> np.ndarray:
    """Sorted indices of the structures to train on: those with labels, except isolated atoms, which give E0s.

    Raises InputError if there are none.
    """
    index = snapshots.index
    kept = np.flatnonzero(index.has_any & ~index.isolated)
    if len(kept) == 0:
        raise InputError(f"{snapshots.name}: no structure with a label (isolated atoms do not count)")
    return kept


def split_by_group(
    snapshots: Snapshots,
    valid_fraction: float,
    seed: int,
    indices: ArrayLike | None = None,
    whole_groups: bool = True,
) -> Split:
    """Hold out about `valid_fraction` of the usable structures (or of `indices`), whole groups at a time.

    Frames without a group are groups of one; with whole_groups=False every frame is. Each part gets at least one group,
    and groups that alone contain an element go to training. The same seed gives the same split.

    Raises InputError for a fraction outside [0, 1), and if there is only one group.
    """
    if not 0 <= valid_fraction < 1:
        raise InputError(f"valid_fraction is {valid_fraction}; it must be at least 0 and below 1")
    indices = usable(snapshots) if indices is None else np.asarray(indices, dtype=np.int64)
    if valid_fraction == 0:
        return Split(np.sort(indices), indices[:0])
    group = snapshots.index.group[indices] if whole_groups else np.full(len(indices), -1)
    order, starts, sizes = _members(group)
    if len(sizes) < 2:
        raise InputError(
            f"{snapshots.name}: all {len(indices)} structures belong to one trajectory, which is not split; "
            "name other data for validation, or set valid_fraction to 0"
        )
    few = whole_groups and len(sizes) <= _MOST_READ
    elements = [_elements(snapshots, int(indices[order[start]])) for start in starts] if few else None
    chosen = _choose(sizes, valid_fraction * len(indices), np.random.default_rng(seed), elements)
    valid = np.zeros(len(indices), dtype=bool)
    marked = np.zeros(len(sizes), dtype=bool)
    marked[chosen] = True
    valid[order[np.repeat(marked, sizes)]] = True
    return Split(np.sort(indices[~valid]), np.sort(indices[valid]))


def identical_frames(first: Snapshots, indices, second: Snapshots, others) -> tuple[int, str]:
    """How many frames of `second[others]` have the elements, positions and cell (to 1e-4 Angstrom) of one in
    `first[indices]`, and two such in words. Of more than 50 000 frames evenly spaced ones are compared."""
    known = {_fingerprint(s): s.source for s in _evenly(first, indices)}
    same = [(known[key], s.source) for s in _evenly(second, others) if (key := _fingerprint(s)) in known]
    return len(same), " and ".join(same[0]) if same else ""


def split_notes(
    train: Snapshots,
    indices: Sequence[int] | np.ndarray,
    valid: Snapshots,
    others: Sequence[int] | np.ndarray,
    name: str = "validation",
) -> list[str]:
    """Sentences about frames of a held-out part that also occur, exactly or nearly, in the training data."""
    notes = []
    count, example = identical_frames(train, indices, valid, others)
    if count:
        notes.append(
            f"{count} of {len(others)} {name} frames are in the training data too (the same atoms in the same places, "
            f"as {example}): errors on them say nothing about new structures"
        )
    if train is valid and _parts_trajectories(train, np.asarray(indices), np.asarray(others)):
        notes.append(
            f"{name} frames lie between training frames of the same trajectories, so errors on new structures will be "
            "larger. data.group_key: file keeps the frames of each file together, data.group_key: NAME those with the "
            "same value of NAME; data.valid names data of their own"
        )
    return notes


def _evenly(snapshots, indices):
    return (snapshots[int(i)] for i in evenly_spaced(np.asarray(indices), _MOST_COMPARED))


def _fingerprint(structure) -> bytes:
    cell = np.where(structure.pbc[:, None], structure.cell, 0.0)
    places = np.round(np.concatenate([structure.pos, cell]) / _SAME_PLACE).astype(np.int64)
    return hashlib.blake2b(structure.z.tobytes() + places.tobytes(), digest_size=16).digest()


def _parts_trajectories(snapshots, train, valid) -> bool:
    """Whether most held-out frames follow, in their file and with the same atoms, frames that are trained on."""
    chosen = evenly_spaced(valid, _NEIGHBOURS_READ)
    trained = set(train.tolist())
    near = [_continues(snapshots[int(i)], snapshots[int(i) - 1]) for i in chosen if int(i) - 1 in trained]
    return sum(near) > len(chosen) / 2


def _continues(frame, before) -> bool:
    return _file(frame.source) == _file(before.source) and np.array_equal(frame.z, before.z)


def _file(source: str) -> str:
    """The file that a structure was first read from, of "a.xyz, frame 3" or "a.lmdb, record 7 (a.xyz, frame 3)"."""
    record = re.search(r", record \d+ \((.*)\)$", source)
    return (record[1] if record else source).rpartition(",")[0]


def _members(group):
    """What belongs together: positions in order of the groups, those without one last, each a group of its own; where
    in that order each group starts; sizes of the groups."""
    alone = np.flatnonzero(group < 0)
    together = np.flatnonzero(group >= 0)
    together = together[np.argsort(group[together], kind="stable")]
    order = np.concatenate([together, alone])
    own = np.concatenate([np.diff(group[together], prepend=-1) != 0, np.ones(len(alone), bool)])
    starts = np.flatnonzero(own)
    return order, starts, np.diff(starts, append=len(order))


def _elements(snapshots, i: int) -> set[int]:
    """The elements of a group, as its first structure has them: a trajectory keeps its atoms."""
    index = snapshots.index
    if index.composition is not None:
        return index.compositions.elements(int(index.composition[i]))
    return set(snapshots[i].z.tolist())


def _choose(sizes, wanted, rng, elements=None):
    """Groups in random order up to `wanted` structures; passed over is a group that would overshoot, or that alone
    holds one of the `elements`, since training could not learn it."""
    order, most = rng.permutation(len(sizes)), int(max(wanted, 1))
    chosen = _fill(sizes[order], most) if elements is None else _fill_with(order, sizes, most, elements)
    chosen = order[chosen][: len(sizes) - 1]
    return chosen if len(chosen) else [min(order, key=lambda i: sizes[i])]


def _fill(sizes, most: int) -> np.ndarray:
    """Positions that are taken one after the other, all that still fit."""
    taken, start = [], 0
    while start < len(sizes):
        fitting = start + np.flatnonzero(sizes[start:] <= most)
        ends = np.cumsum(sizes[fitting])
        count = int(np.searchsorted(ends, most, side="right"))
        if count == 0:
            break
        taken.append(fitting[:count])
        most -= int(ends[count - 1])
        start = int(fitting[count - 1]) + 1
    return np.concatenate([np.zeros(0, np.int64), *taken])


def _fill_with(order, sizes, most: int, elements) -> list[int]:
    """The same, without groups that alone hold an element."""
    left = Counter(z for members in elements for z in members)
    taken, count = [], 0
    for position, i in enumerate(order):
        if count + sizes[i] <= most and len(taken) < len(sizes) - 1 and all(left[z] > 1 for z in elements[i]):
            taken.append(position)
            count += sizes[i]
            left.subtract(elements[i])
    return taken
