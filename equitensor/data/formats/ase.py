"""Anything that ASE reads: extended XYZ, trajectories, outputs of electronic-structure codes."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from equitensor.data.frames import ends_in_a_number, format_of, warn_cut, whole_frames
from equitensor.data.labels import LabelReader
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph.constraints import held_atoms

_log = logging.getLogger(__name__)
_WEIGHT_KEYS = ("config_weight", "weight")
# ASE takes some of these for structures by their first lines; `--format ase` still does.
_NOT_STRUCTURES = {".md", ".rst", ".txt", ".csv", ".yaml", ".yml", ".npz", ".py", ".lmdb"}


def recognises(path: Path) -> bool:
    """Whether ASE knows the file's format."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    if not path.is_file() or _NOT_STRUCTURES & set(path.suffixes):
        return False
    try:
        name = filetype(str(path))
    except (UnknownFileTypeError, OSError, ValueError):
        return False
    return name in ioformats and ioformats[name].can_read


def read(
    path: Path,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    energy_unit: str = "eV",
    length_unit: str = "Angstrom",
    forces_unit: str | None = None,
    stress_unit: str | None = None,
    group_key: str | None = None,
) -> Iterator[Structure]:
    """The frames of a file, labels found under their usual names or under the names given (see LabelReader).

    `config_weight` or `weight` becomes the weight, `config_type` is kept, `group_key` names the value that
    says which trajectory a frame belongs to. Raises InputError naming file, frame and key.
    """
    labels = LabelReader(energy_key, forces_key, stress_key, energy_unit, length_unit, forces_unit, stress_unit)
    frame = -1
    for frame, atoms in enumerate(_frames(path)):
        yield _structure(atoms, labels, f"{path}, frame {frame}", group_key)
    if frame < 0:
        raise InputError(f"{path}: no structures in this file")
    labels.check_found(path)
    for label in ("energy", "forces", "stress"):
        used = {key: count for (name, key), count in labels.used.items() if name == label}
        if len(used) > 1:
            counts = ", ".join(f"{key} ({count} frames)" for key, count in used.items())
            _log.warning("%s: %s was read from several keys: %s; name one with %s_key", path, label, counts, label)
    if not labels.used:
        raise InputError(
            f"{path}: no energy, forces or stress found. The keys in this file are {labels.describe_keys()}. "
            "Name the right ones with energy_key, forces_key, stress_key "
            "(--energy-key NAME on the command line, data.energy_key in a config)"
        )


def _frames(path):
    from ase.io import iread

    number, whole = 0, ends_in_a_number(path)
    try:
        for atoms in iread(str(path), index=":", format=format_of(path), do_not_split_by_at_sign=True):
            if number == whole:
                warn_cut(path, number)
                return
            yield atoms
            number += 1
    except KeyError as error:
        raise InputError(f"{path}, frame {number}: unknown element or key {error}") from None
    except Exception as error:  # readers of a hundred formats raise whatever they like
        if not number or whole_frames(path) != number:
            raise InputError(f"{path}, frame {number}: ASE cannot read it: {error}") from None
        warn_cut(path, number)


def _structure(atoms, labels: LabelReader, source: str, group_key) -> Structure:
    if labels.length != 1.0:
        atoms.set_cell(atoms.cell * labels.length)
        atoms.positions *= labels.length  # in place: a constraint would hold fixed atoms where they are
    info, periodic = atoms.info, atoms.pbc.all()
    values = {**info, **atoms.arrays, **(atoms.calc.results if atoms.calc is not None else {})}
    for name in ("numbers", "positions", "tags"):
        values.pop(name, None)
    found = labels.read(values, len(atoms), abs(atoms.cell.volume) if periodic else 0.0, source)
    if group_key is not None and group_key not in info:
        raise InputError(f"{source}: group_key: no {group_key!r}; the frame has {', '.join(sorted(info))}")
    fixed = _fixed_atoms(atoms)
    return Structure.from_ase(
        atoms,
        **found,
        **({} if fixed is None else {"fixed": fixed}),
        weight=_weight(info, source),
        config_type=None if (kind := info.get("config_type")) is None else str(kind),
        group=None if group_key is None else str(info[group_key]),
        source=source,
    )


def _weight(info, source) -> float:
    key = next((key for key in _WEIGHT_KEYS if key in info), None)
    if key is None:
        return 1.0
    try:
        weight = float(info[key])
    except (TypeError, ValueError):
        weight = np.nan
    if not (np.isfinite(weight) and weight >= 0):
        raise InputError(f"{source}: {key} = {info[key]} is not a weight; it must be a number >= 0")
    return weight


def _fixed_atoms(atoms):
    """(n,) bool of atoms held in all three directions, or None where there is none."""
    fixed = held_atoms(atoms)
    return fixed if fixed.any() else None
