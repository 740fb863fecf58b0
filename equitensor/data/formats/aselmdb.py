"""ASE databases in an LMDB file (`.aselmdb`), as newer OC20, OMol25 and OMat24 releases use them.

The ASCII keys 1 ... n hold zlib-compressed JSON, one structure each, in ASE's units, with its constraints;
beside them `nextid`, `deleted_ids` (rows that are no longer part of the data) and `metadata`. Energies are
kept as they are published, which for OC20 means total energies at zero smearing.
"""

import json
import logging
import zlib

import numpy as np

from equitensor.data.environment import open_lmdb
from equitensor.data.formats.lmdb_records import first_value, numbered_keys, shards
from equitensor.errors import InputError, NoLabelsError
from equitensor.graph import Structure

_log = logging.getLogger(__name__)
_NEXT, _DELETED, _METADATA = _RESERVED = (b"nextid", b"deleted_ids", b"metadata")


def recognises(path):
    """Whether `path` is an `.aselmdb` file, or a folder of them. Raises InputError for a truncated one."""
    if path.is_file() and path.suffix != ".aselmdb":
        return False
    value = first_value(path, ".aselmdb", other_keys=_RESERVED)
    return value is not None and value[:1] == b"\x78"  # zlib


def read(path):
    """The structures of a file or a folder, one at a time, by ascending key; deleted rows are left out.

    Structure.group is the system where a row has a `sid` ("sid 1000102"); atoms under FixAtoms are `fixed`.
    A free energy that differs is counted in a warning. Raises InputError for a row that cannot be read, with file
    and key; NoLabelsError where no row has a label, with the names that are there.
    """
    names, labels, differ = {}, 0, 0
    for file in shards(path, ".aselmdb"):
        reader = open_lmdb(file)
        deleted = reader.get(_DELETED)
        deleted = set(_json(deleted, f"{file}, key deleted_ids")) if deleted else set()
        for key in numbered_keys(file, other_keys=_RESERVED):
            if int(key) not in deleted:
                where = f"{file}, key {key.decode()}"
                row = _json(reader.get(key), where)
                structure = _structure(row, where)
                names.update(dict.fromkeys([*(row.get("key_value_pairs") or ()), *(row.get("data") or ())]))
                labels += structure.has_labels
                free = row.get("free_energy")
                differ += None not in (structure.energy, free) and abs(free - structure.energy) > 1e-6
                yield structure
    if differ:
        _log.warning(
            "%s: energies are those at zero smearing, as published; free_energy, of which forces are the derivative, "
            "differs in %d rows",
            *(path, differ),
        )
    if not labels:
        raise NoLabelsError(
            f"{path}: no row has energy, forces or stress; beside them are {', '.join(names) or 'no other values'}. "
            "To use these, write the rows with ASE as extended XYZ"
        )


def _json(value, where):
    from ase.io.jsonio import object_hook

    try:
        return json.loads(zlib.decompress(value), object_hook=object_hook)
    except (zlib.error, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{where}: not zlib-compressed JSON of ASE ({error})") from error


def _structure(row, where):
    from ase.stress import voigt_6_to_full_3x3_stress

    try:
        n = len(row["numbers"])
        stress = _label(row, "stress")
        return Structure(
            z=np.array(row["numbers"], dtype=np.int64),
            pos=np.array(row["positions"], dtype=np.float64).reshape(n, 3),
            cell=np.array(row.get("cell", np.zeros((3, 3))), dtype=np.float64).reshape(3, 3),
            pbc=np.array(row.get("pbc", np.zeros(3)), dtype=bool).reshape(3),
            energy=None if row.get("energy") is None else float(row["energy"]),
            forces=_label(row, "forces", (n, 3)),
            stress=voigt_6_to_full_3x3_stress(stress) if stress is not None and stress.size == 6 else stress,
            fixed=_fixed(row.get("constraints"), n),
            tags=None if row.get("tags") is None else np.array(row["tags"], dtype=np.int64).reshape(n),
            group=_group(row),
            source=where,
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{where}: not a row of an ASE database ({type(error).__name__}: {error})") from error


def _label(row, name, shape=None):
    if row.get(name) is None:
        return None
    value = np.array(row[name], dtype=np.float64)
    return value if shape is None else value.reshape(shape)


def _fixed(constraints, n):
    constraints = json.loads(constraints) if isinstance(constraints, str) else constraints or []
    fixed = np.zeros(n, dtype=bool)
    for constraint in constraints:
        if constraint["name"] == "FixAtoms":
            fixed[np.array(constraint["kwargs"]["indices"], dtype=np.int64)] = True
    return fixed if constraints else None


def _group(row):
    sid = (row.get("key_value_pairs") or {}).get("sid", (row.get("data") or {}).get("sid"))
    return None if sid is None else f"sid {str(sid).removeprefix('random')}"
