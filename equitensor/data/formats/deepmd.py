"""Systems of DeePMD-kit: a folder with type.raw and set.*/coord.npy, box.npy, energy.npy, force.npy, virial.npy.

In eV and Angstrom; stress = -virial / V. `type_map.raw` names the elements of types 0, 1, ...; the empty file `nopbc`
says that there is no cell. Of a mixed system set.*/real_atom_types.npy has the types of each frame, -1 for no atom.
Instead of sets there may be coord.raw, box.raw, energy.raw, force.raw, virial.raw as text.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np

from equitensor.data.formats.label_options import ELEMENTS, LENGTH_UNIT, chemical_symbols, settings_with_labels
from equitensor.data.formats.lmdb_records import natural_order
from equitensor.data.formats.stacked import Stack, numeric_array, read_stacks
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph.labels import ENERGY, FORCES, STRESS, get_label
from equitensor.settings import Settings

_TYPES, _ELEMENTS, _NO_CELL = "type.raw", "type_map.raw", "nopbc"
_LABELS = {ENERGY.name: "energy", FORCES.name: "force", STRESS.name: "virial"}
_UNITS = {"energy_unit": "eV", "length_unit": "Angstrom"}


def recognises(path: Path) -> bool:
    """Whether `path` is the folder of a system."""
    return path.is_dir() and (path / _TYPES).is_file() and bool(_sets(path) or (path / "coord.raw").is_file())


def system_of(path: Path) -> Path | None:
    """The folder of the system that a file or a set belongs to, or None."""
    if path.is_dir():
        belongs = path.name.startswith("set.")
    elif path.parent.name.startswith("set."):
        return system_of(path.parent)
    else:
        belongs = path.suffix == ".raw" or path.name == _NO_CELL
    return path.parent if belongs and (path.parent / _TYPES).is_file() else None


def read(
    path: Path,
    length_unit: Annotated[str | None, LENGTH_UNIT] = None,
    elements: Annotated[list[str] | str | None, ELEMENTS] = None,
    **label_options: str | None,
) -> Iterator[Structure]:
    """The frames of a system, set by set. elements: the symbols of types 0, 1, ... where type_map.raw is missing.

    label_options: <label>_key (the name of a file: energy of energy.npy) and <label>_unit of each label of the table.
    Raises InputError naming the file for types without elements and for shapes that do not fit.
    """
    symbols = _symbols(path, elements)
    types = _read(path / _TYPES).ravel()
    options = {"length_unit": length_unit} | label_options
    given = {option[: -len("_key")]: name for option, name in label_options.items() if option.endswith("_key")}
    files = _LABELS | {label: name for label, name in given.items() if name}  # label -> name of its file
    parts = _sets(path) or [path]
    there = {label: name for label, name in _LABELS.items() if any(_file(part, name) for part in parts)}
    stacks = (_stack(path, part, types, symbols, files) for part in parts)
    yield from read_stacks(path, stacks, there, _UNITS, options)


def settings() -> type[Settings]:
    """The keys and units of all labels, length_unit and elements."""
    return settings_with_labels(read)


def _sets(path: Path) -> list[Path]:
    return sorted((each for each in path.glob("set.*") if (each / "coord.npy").is_file()), key=natural_order)


def _file(part: Path, name: str) -> Path | None:
    return next((file for file in (part / f"{name}.npy", part / f"{name}.raw") if file.is_file()), None)


def _read(file: Path) -> np.ndarray:
    try:
        array = np.load(file, allow_pickle=False) if file.suffix == ".npy" else np.loadtxt(file, ndmin=2)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file}: not a readable array ({error})") from None
    return numeric_array(array, f"{file}: values")


def _symbols(path: Path, elements) -> list[str]:
    """The elements of types 0, 1, ..."""
    file = path / _ELEMENTS
    if elements is not None:
        return chemical_symbols(elements)
    if file.is_file():
        try:
            return chemical_symbols(file.read_text())
        except InputError as error:
            raise InputError(f"{file}: {error}; elements=... names others") from None
    raise InputError(
        f"{path}: there is no {_ELEMENTS}, so the elements of the types are not known; name them in their order, as "
        "elements=[Si, O] (--elements Si O on the command line)"
    )


def _stack(path: Path, part: Path, types: np.ndarray, symbols: list[str], files: dict[str, str]) -> Stack:
    coordinates = _file(part, "coord")
    if coordinates is None:
        raise InputError(f"{part}: there is no coord.npy or coord.raw")
    pos = _rows(coordinates)
    mixed = _file(part, "real_atom_types")
    z = _numbers(types if mixed is None else _read(mixed), symbols, path / _TYPES if mixed is None else mixed)
    n = z.shape[-1]
    if pos.shape[1] != 3 * n:
        raise InputError(
            f"{coordinates}: {pos.shape[1]} values a frame, but {_TYPES} has {n} atoms, which need {3 * n}"
        )
    if mixed is not None and z.shape != (len(pos), n):
        raise InputError(f"{mixed}: shape {z.shape}, expected {(len(pos), n)}")
    present = {label: file for label, name in files.items() if (file := _file(part, name)) is not None}
    values = {files[label]: _values(file, len(pos), n, get_label(label).per_atom) for label, file in present.items()}
    return Stack(where=str(part), z=z, pos=pos, cell=_cell(path, part, len(pos)), values=values)


def _rows(file: Path) -> np.ndarray:
    array = _read(file)
    return array.reshape(len(array), -1)


def _values(file: Path, frames: int, n: int, per_atom: bool) -> np.ndarray:
    """(frames, ...) of a file, (frames, n, ...) of what each atom has."""
    rows = _rows(file)
    if len(rows) != frames:
        raise InputError(f"{file}: {len(rows)} frames, but coord beside it has {frames}")
    return rows.reshape(frames, n, -1) if per_atom and rows.shape[1] % n == 0 else rows


def _cell(path: Path, part: Path, frames: int) -> np.ndarray | None:
    if (path / _NO_CELL).is_file():
        return None
    file = _file(part, "box")
    if file is None:
        raise InputError(f"{part}: no box.npy; a system without cells has an empty file {_NO_CELL} beside {_TYPES}")
    rows = _rows(file)
    if rows.shape != (frames, 9):
        raise InputError(f"{file}: shape {rows.shape}, expected {(frames, 9)}")
    return rows.reshape(frames, 3, 3)


def _numbers(types: np.ndarray, symbols: list[str], file: Path) -> np.ndarray:
    """Atomic numbers of types, 0 of type -1."""
    from ase.data import atomic_numbers

    if types.max(initial=0) >= len(symbols):
        raise InputError(
            f"{file}: type {int(types.max())}, but only {len(symbols)} elements are named ({', '.join(symbols)})"
        )
    if np.any(types != np.round(types)) or types.min(initial=0) < -1:
        raise InputError(f"{file}: types are whole numbers from 0 on")
    return np.array([*(atomic_numbers[symbol] for symbol in symbols), 0])[types.astype(np.int64)]
