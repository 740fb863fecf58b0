"""Files that hold many structures as arrays with the frames first: what npz, HDF5 and deepmd have in common."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from equitensor.data.labels import LabelReader
from equitensor.data.zeros import without_zero_labels
from equitensor.errors import InputError
from equitensor.graph import Structure

_log = logging.getLogger(__name__)


@dataclass
class Stack:
    """m frames of n atoms, in the units of the file.

    where: the file, and the group in it. z (n,), or (m, n) with 0 for no atom; pos (m, n, 3) or (m, 3 n); cell (3, 3)
    or (m, 3, 3), rows are lattice vectors, or None without periodicity; values: name -> (m, ...), what may be labels;
    also: names of what else is there, for messages.
    """

    where: str
    z: np.ndarray
    pos: np.ndarray
    cell: np.ndarray | None = None
    values: dict[str, np.ndarray] = field(default_factory=dict)
    group: str | None = None
    config_type: str | None = None
    also: tuple[str, ...] = ()


def read_stacks(
    path: Path, stacks: Iterable[Stack], keys: dict, units: dict, options: dict, nan_is_missing: bool = False
) -> Iterator[Structure]:
    """The structures of the stacks, one by one.

    keys: label -> its name in this layout; units: <label>_unit and length_unit of this layout; options: what was given
    to the format, <label>_key among it, which come first. nan_is_missing: NaN says that a label was not computed;
    frames that have none then are left out and counted in a warning. Raises InputError naming file and key, after the
    last frame NoLabelsError where none had a label.
    """
    given = {name: value for name, value in options.items() if value is not None}
    named = {f"{label}_key": key for label, key in keys.items()}
    try:
        labels = LabelReader(**{**named, **units, **given})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    gaps = _Gaps() if nan_is_missing else None
    structures = (each for stack in stacks for each in _frames(stack, labels, gaps))
    labelled = False
    for structure in without_zero_labels(structures, path, lambda label: f"{label}_key" in given):
        labelled |= structure.has_labels
        yield structure
    labels.check_found(path)
    for message in [*labels.messages(), *(() if gaps is None else gaps.messages())]:
        _log.warning("%s: %s", path, message)
    if not labelled:
        raise labels.nothing_found(path)


def _frames(stack: Stack, labels: LabelReader, gaps) -> Iterator[Structure]:
    for name in stack.also:
        labels.notes.seen.setdefault(name, ())
    z, pos, cell = _checked(stack)
    _check_lengths(stack, labels, len(pos))
    volumes = np.zeros(len(pos)) if cell is None else np.abs(np.linalg.det(cell)) * labels.length**3
    for i in range(len(pos)):
        where = f"{stack.where}, frame {i}"
        values = {name: value[i] for name, value in stack.values.items()}
        atoms = slice(None)
        if z.ndim == 2 and not (z[i] > 0).all():
            atoms = z[i] > 0
            values = {
                name: value[atoms] if np.shape(value)[:1] == atoms.shape else value for name, value in values.items()
            }
        if gaps is not None:
            values = gaps.known(values)
            if not values:
                continue
        elements = (z[i] if z.ndim == 2 else z)[atoms]
        yield Structure.of(
            z=elements,
            pos=pos[i][atoms] * labels.length,
            cell=np.zeros((3, 3)) if cell is None else cell[i] * labels.length,
            pbc=np.full(3, cell is not None),
            **labels.read(values, len(elements), float(volumes[i]), where),
            group=stack.group,
            config_type=stack.config_type,
            source=where,
        )


def _checked(stack: Stack):
    """z (n,) or (m, n) int64, pos (m, n, 3) and cell (m, 3, 3) or None, float64."""
    z = numeric_array(stack.z, f"{stack.where}: atomic numbers")
    pos = numeric_array(stack.pos, f"{stack.where}: positions")
    if np.any(z != np.round(z)):
        raise InputError(f"{stack.where}: the atomic numbers are {z.ravel()[:8].tolist()} ..., which are no elements")
    n = z.shape[-1] if z.ndim in (1, 2) else -1
    if n < 1 or pos.ndim not in (2, 3) or pos.size != len(pos) * n * 3 or (z.ndim == 2 and len(z) != len(pos)):
        raise InputError(
            f"{stack.where}: atomic numbers of shape {z.shape} and positions of shape {pos.shape} do not fit together; "
            "expected (atoms,), or (frames, atoms) with 0 for no atom, and (frames, atoms, 3)"
        )
    pos = pos.reshape(len(pos), n, 3).astype(np.float64)
    if stack.cell is None:
        return z.astype(np.int64), pos, None
    cell = numeric_array(stack.cell, f"{stack.where}: lattice vectors").astype(np.float64)
    if cell.size not in (9, 9 * len(pos)):
        raise InputError(f"{stack.where}: lattice vectors of shape {cell.shape}, expected (3, 3) or (frames, 3, 3)")
    return z.astype(np.int64), pos, np.broadcast_to(cell.reshape(-1, 3, 3), (len(pos), 3, 3))


def numeric_array(array, what: str) -> np.ndarray:
    """The array, where it holds numbers. Raises InputError that begins with `what` elsewhere."""
    array = np.asarray(array)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{what} of type {array.dtype}, not numbers")
    return array


def _check_lengths(stack: Stack, labels: LabelReader, count: int):
    for key in filter(None, labels.keys.values()):
        value = stack.values.get(key)
        if value is not None and len(value) != count:
            raise InputError(
                f"{stack.where}: {key} has shape {np.shape(value)}, but there are {count} frames of positions"
            )


class _Gaps:
    """Values that were not computed, NaN, counted by their names."""

    def __init__(self):
        self._missing, self._unlabelled, self._frames = {}, 0, 0

    def known(self, values: dict) -> dict:
        """Those that are there."""
        known = {name: value for name, value in values.items() if not np.isnan(value).any()}
        self._frames += 1
        self._unlabelled += not known
        for name in values.keys() - known.keys():
            self._missing[name] = self._missing.get(name, 0) + 1
        return known

    def messages(self):
        for name, count in sorted(self._missing.items()):
            yield f"{name} is missing (NaN) in {count} of {self._frames} frames"
        if self._unlabelled:
            yield f"{self._unlabelled} frames without any of these are left out"
