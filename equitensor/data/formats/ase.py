"""Anything that ASE reads: extended XYZ, trajectories, outputs of electronic-structure codes."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from equitensor.data.formats import ase_frames, cp2k, foreign
from equitensor.data.formats.label_options import ELEMENTS, LENGTH_UNIT, chemical_symbols, settings_with_labels
from equitensor.data.frames import ending
from equitensor.data.labels import LabelReader
from equitensor.data.zeros import without_zero_labels
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.settings import Settings

_log = logging.getLogger(__name__)
_WEIGHT_KEY = "config_weight"
_OTHER_WEIGHTS = re.compile(
    r"weights?|(?:config|sample|frame|loss)_(?:\w+_)?weights?|(?:energy|forces?|stress)_weights?"
)
# ASE takes some of these for structures by their first lines; `--format ase` still does.
_NOT_STRUCTURES = {".md", ".rst", ".txt", ".csv", ".yaml", ".yml", ".npz", ".py", ".lmdb"}


def recognises(path: Path) -> bool:
    """Whether ASE knows the file's format, and it holds structures."""
    if not path.is_file() or ending(path) in _NOT_STRUCTURES:
        return False
    if foreign.advice(path) is not None or cp2k.is_companion(path):
        return False
    return ase_frames.file_format(path) is not None


def read(
    path: Path,
    length_unit: Annotated[str | None, LENGTH_UNIT] = None,
    weight_key: Annotated[
        str | None, Field(description="name of the weight of a frame in the loss; default config_weight")
    ] = None,
    group_key: Annotated[
        str | None,
        Field(
            description="name of the value that identifies the trajectory of a frame; file: each file is a trajectory"
        ),
    ] = None,
    elements: Annotated[list[str] | str | None, ELEMENTS] = None,
    **label_options: str | None,
) -> Iterator[Structure]:
    """The frames of a file, labels found under their usual names or under the names given (see LabelReader).

    label_options: <label>_key and <label>_unit of each label of the table, as energy_key.
    Units that are not given are eV and Angstrom, or those of the program that wrote the file (CP2K, the energies in
    comment lines of ORCA, xtb and CREST, the metadata of a database); RuNNer's must be given. `config_weight`, or
    what weight_key names, becomes the weight, `config_type` is kept, `group_key` names the value that
    says which trajectory a frame belongs to. elements: the symbols of a LAMMPS dump's types 1, 2, ... Labels
    that are zero in all frames are left out (see `zeros`). What was passed over, left out or chosen is
    said in a line each at the end of the file. Raises InputError naming file, frame and key; after the last frame
    NoLabelsError where none had a label.
    """
    if (hint := foreign.advice(path)) is not None:
        raise InputError(f"{path}: {hint}")
    elements = None if elements is None else chemical_symbols(elements)
    name = ase_frames.file_format(path)
    keys = {option: value for option, value in label_options.items() if option.endswith("_key")}
    given = {"length_unit": length_unit} | {k: v for k, v in label_options.items() if k not in keys}
    labels = LabelReader(**keys, **ase_frames.default_units(path, name, given))
    weights = _Weights(weight_key)
    frames = ase_frames.frames(path, name, given, elements)
    structures = _structures(path, frames, labels, weights, group_key)
    is_labelled = False
    for structure in without_zero_labels(structures, path, labels.is_named):
        is_labelled |= structure.has_labels
        yield structure
    for message in [*labels.messages(), *weights.messages()]:
        _log.warning("%s: %s", path, message)
    if not is_labelled:
        raise labels.nothing_found(path)


def settings() -> type[Settings]:
    """What `read` declares, and the keys and units of all labels."""
    return settings_with_labels(read)


def _structures(path, frames, labels: LabelReader, weights, group_key):
    frame = -1
    for frame, atoms in enumerate(frames):
        yield _structure(atoms, labels, weights, f"{path}, frame {frame}", group_key)
    if frame < 0:
        raise InputError(f"{path}: no structures in this file")
    labels.check_found(path)


def _structure(atoms, labels: LabelReader, weights, source: str, group_key) -> Structure:
    if labels.length != 1.0:
        atoms.set_cell(atoms.cell * labels.length)
        atoms.positions *= labels.length  # in place: a constraint would hold fixed atoms where they are
    info, periodic = atoms.info, atoms.pbc.all()
    values = {**info, **atoms.arrays, **(atoms.calc.results if atoms.calc is not None else {})}
    for name in ("numbers", "positions", "tags"):
        values.pop(name, None)
    volume = abs(atoms.cell.volume) if periodic and np.isfinite(atoms.cell).all() else 0.0
    label_values = labels.read(values, len(atoms), volume, source, atoms.arrays.keys())
    if group_key is not None and group_key not in info:
        raise InputError(f"{source}: group_key: no {group_key!r}; the frame has {', '.join(sorted(info))}")
    return Structure.from_ase(
        atoms,
        **label_values,
        weight=weights.read(info, source),
        config_type=None if (kind := info.get("config_type")) is None else str(kind),
        group=None if group_key is None else str(info[group_key]),
        source=source,
    )


class _Weights:
    """Reads the weight of a frame from one key, and remembers others that look like weights."""

    def __init__(self, key):
        self._key, self._others = key or _WEIGHT_KEY, set()

    def read(self, info, source) -> float:
        self._others |= {name for name in info if name != self._key and _is_other_weight(name, info[name])}
        value = info.get(self._key)
        if value is None:
            return 1.0
        is_number = np.asarray(value).dtype.kind in "iuf" and np.size(value) == 1
        weight = float(np.ravel(value)[0]) if is_number else np.nan
        if not (np.isfinite(weight) and weight >= 0):
            raise InputError(f"{source}: {self._key} = {value} is not a weight; it must be a number >= 0")
        return weight

    def messages(self):
        for name in sorted(self._others):
            yield f"{name} is not read as a weight of the loss; if it is one, weight_key={name} reads it"


def _is_other_weight(name, value) -> bool:
    """Whether an entry may be meant for a weight of the loss (or be the mass of a molecule), and would change it."""
    return _OTHER_WEIGHTS.fullmatch(name.lower()) is not None and value != 1
