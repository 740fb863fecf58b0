"""ASE's databases (`.db`, `.json`), with labels in the calculator's columns, in key-value pairs or in `data`.

schnetpack keeps its labels in `data` and their units in the metadata, which are used where none are given.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from equitensor.errors import InputError
from equitensor.graph.labels import names

_log = logging.getLogger(__name__)


def units(path: Path, given: dict) -> dict:
    """The units named in the metadata (schnetpack's), as options of the reader that are not in `given`."""
    metadata = _metadata(path)
    named = metadata.get("_property_unit_dict") or {}
    by_option = {f"{label}_unit": named[label] for label in names() if named.get(label)}
    by_option["length_unit"] = metadata.get("_distance_unit")
    by_option = {option: _spelled(unit) for option, unit in by_option.items() if unit and given.get(option) is None}
    if by_option:
        _log.info("%s: units of its metadata: %s", path, ", ".join(f"{k}={v}" for k, v in by_option.items()))
    return by_option


def frames(path: Path) -> Iterator:
    """The ase.Atoms of the rows; what stands in key-value pairs and in `data` is in `info`.

    An entry that has the name of a result of the calculator but another value is called "data.NAME".
    """
    import ase.db

    with ase.db.connect(str(path.absolute()), type=_kind(path), serial=True) as database:
        for row in database.select():
            atoms = row.toatoms()
            results = atoms.calc.results if atoms.calc is not None else {}
            for name, value in {**row.key_value_pairs, **_plain(row.data)}.items():
                same = name not in results or np.array_equal(results[name], value)
                atoms.info[name if same else f"data.{name}"] = value
            yield atoms


def _kind(path):
    return "json" if path.suffix.lower() == ".json" else "db"


def _metadata(path):
    import ase.db

    try:
        with ase.db.connect(str(path.absolute()), type=_kind(path), serial=True) as database:
            len(database)
            return dict(database.metadata)
    except Exception as error:  # sqlite3 and ASE raise what they like for a file that is none
        raise InputError(f"{path}: not a readable ASE database: {error}") from None


def _plain(data):
    """Entries of `data`; one level of dictionaries in it becomes "outer.inner"."""
    plain = {}
    for name, value in data.items():
        inner = value.items() if isinstance(value, dict) else ()
        plain.update({f"{name}.{key}": each for key, each in inner} if inner else {name: value})
    return plain


def _spelled(unit):
    """schnetpack's spelling of a unit as ours: "kcal/mol/Ang" is known already, "eV/Ang/Ang/Ang" is not."""
    name, *lengths = str(unit).split("/Ang/Ang/Ang")
    return f"{name}/Ang^3" if lengths else str(unit)
