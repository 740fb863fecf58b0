"""Archives of numpy: MD17, revised MD17, and data sets of sGDML (MD17 and MD22 as they are published there).

| layout | atomic numbers, positions | labels | units |
| --- | --- | --- | --- |
| sGDML, MD17 | z (n,), R (m, n, 3) | E (m,) or (m, 1), F (m, n, 3) | e_unit, r_unit, e_unit/r_unit; else kcal/mol |
| rMD17 | nuclear_charges (n,), coords | energies, forces | kcal/mol, Angstrom |

Other archives with such names are read where `energy_unit` says the unit; atomic numbers may be (m, n), with 0 for no
atom. sGDML's `lattice` has the lattice vectors as columns.
"""

import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np

from equitensor.data.formats.label_options import LENGTH_UNIT, settings_with_labels
from equitensor.data.formats.stacked import Stack, read_stacks
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph.labels import ENERGY, FORCES
from equitensor.settings import Settings

_log = logging.getLogger(__name__)
_NUMBERS = ("z", "Z", "nuclear_charges", "atomic_numbers", "numbers")
_POSITIONS = ("R", "coords", "coordinates", "positions", "pos")
_SHORT = {ENERGY.name: "E", FORCES.name: "F"}
_OF_MD17 = {"energy_unit": "kcal/mol", "length_unit": "Angstrom"}


def recognises(path: Path) -> bool:
    """Whether `path` is an .npz file with atomic numbers and positions under names that are known."""
    if path.suffix.lower() != ".npz" or not zipfile.is_zipfile(path):
        return False
    names = _names(path)
    return _first(_NUMBERS, names) is not None and _first(_POSITIONS, names) is not None


def read(
    path: Path, length_unit: Annotated[str | None, LENGTH_UNIT] = None, **label_options: str | None
) -> Iterator[Structure]:
    """The frames of an archive, labels under the names of its layout or under those given.

    label_options: <label>_key and <label>_unit of each label of the table. Raises InputError naming file and key,
    among them for an archive that does not say its units and is of none of the published layouts.
    """
    with path.open("rb") as stream, _opened(stream, path) as archive:
        arrays = _Arrays(archive, path)
        numbers, positions = (_needed(names, arrays.names, path) for names in (_NUMBERS, _POSITIONS))
        options = {"length_unit": length_unit} | label_options
        units = _units(arrays, options)
        keys = {label: key for label, key in _SHORT.items() if key in arrays.names}
        named = {*keys.values(), *(value for option, value in options.items() if option.endswith("_key") and value)}
        pos, lattice = arrays[positions], arrays["lattice"] if "lattice" in arrays.names else None
        stack = Stack(
            where=str(path),
            z=arrays[numbers],
            pos=pos,
            cell=None if lattice is None else np.swapaxes(lattice, -1, -2),
            values=dict(arrays.others(numbers, positions, named, len(pos))),
        )
    yield from read_stacks(path, [stack], keys, units, options)


def settings() -> type[Settings]:
    """The keys and units of all labels, and length_unit."""
    return settings_with_labels(read)


def _names(path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _opened(stream, path):
    try:
        archive = np.load(stream, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array")
        return archive
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a whole .npz file ({error}); copy it again") from None


class _Arrays:
    """The arrays of an archive, each read when it is asked for."""

    def __init__(self, archive, path):
        self._archive, self.path, self.names = archive, path, list(archive.files)

    def __getitem__(self, name) -> np.ndarray:
        try:
            return self._archive[name]
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:  # among it: objects, which are pickles
            raise InputError(f"{self.path}: {name} cannot be read ({error})") from None

    def others(self, numbers, positions, named, count):
        """(name, array) of what may be labels: one row per frame, or named as one."""
        for name in self.names:
            if name in named:
                yield name, self[name]
            elif name not in (numbers, positions, "lattice") and not name.startswith("old_"):
                with self._archive.zip.open(f"{name}.npy") as file:
                    shape = _shape(file)
                if shape[:1] == (count,):
                    yield name, self[name]

    def text(self, name) -> str | None:
        """A short text, "" for an empty one; None where it is not there."""
        if name not in self.names:
            return None
        value = np.ravel(self[name])
        text = value[0] if len(value) else ""
        return text.decode(errors="replace").strip() if isinstance(text, bytes) else str(text).strip()


def _shape(file) -> tuple[int, ...]:
    """That of an array by its header."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return reader(file)[0]


def _units(arrays: _Arrays, options: dict) -> dict:
    """The units that the archive names, or those of its layout."""
    units = {"energy_unit": arrays.text("e_unit"), "length_unit": arrays.text("r_unit")}
    units = {option: unit for option, unit in units.items() if unit}
    if "energy_unit" in units or options.get("energy_unit") is not None:
        return units
    if "old_energies" in arrays.names:
        return _OF_MD17
    if {"type", "theory"} <= set(arrays.names) and "code_version" not in arrays.names:  # which sGDML's scripts write
        _log.warning("%s: no units are given; those of MD17 are assumed, kcal/mol and Angstrom", arrays.path)
        return _OF_MD17 | units
    raise InputError(
        f"{arrays.path}: the archive does not say its units; name them with energy_unit and length_unit (MD17 and "
        "rMD17: kcal/mol and Angstrom; --energy-unit kcal/mol)"
    )


def _first(known, names):
    return next((name for name in known if name in names), None)


def _needed(known, names, path):
    name = _first(known, names)
    if name is None:
        raise InputError(f"{path}: none of {', '.join(known)} is in this archive; it has {', '.join(names)}")
    return name
