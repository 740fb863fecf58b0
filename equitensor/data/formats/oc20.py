"""OC20's LMDB files as published: S2EF (frames of relaxations) and IS2RE (initial and relaxed structures).

One pickled PyTorch-Geometric `Data` per record, under the ASCII keys 0, 1, 2 ...; one file or a folder of
shards (data.0000.lmdb ...; log files beside them are not read). Units are eV and Angstrom already.

What a label means depends on the file, and it is kept as it is there:
- S2EF `y`: adsorption-referenced energies (a few eV) in files made with `--ref-energy`, total energies
  (hundreds of eV) in those made without. The first need no E0s, the second do. Never mix the two.
- IS2RE: `y_init` and `force` belong to the initial positions, `y_relaxed` to `pos_relaxed`. The relaxed
  structure comes without forces, and none are invented: on atoms held in place they are not zero.
Forces on `fixed` atoms are real (not zero) but nobody relaxed them: mask them.
OC20 is computed in a cell that is periodic in all three directions, the vacuum included: pbc is True three
times, unless the record says otherwise.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from equitensor.data.environment import open_lmdb
from equitensor.data.formats.lmdb_records import first_value, numbered_keys, shards
from equitensor.data.formats.unpickle import Fields, attributes, loads
from equitensor.errors import InputError
from equitensor.graph import Structure

_LENGTH = b"length"
_RELAXED = "OC20 IS2RE: read the relaxed structures instead of the initial ones"


def recognises(path):
    """Whether `path` is an LMDB file, or a folder of them, whose records are pickled PyG `Data`.

    Raises InputError for an LMDB file that is truncated.
    """
    value = first_value(path, ".lmdb")
    return value is not None and value[:1] == b"\x80" and b"torch_geometric" in value[:100]


def read(path, relaxed: Annotated[bool, Field(description=_RELAXED)] = False):
    """The structures of a file or a folder of shards, one at a time, in the numeric order of their keys.

    Structure.group is the system ("sid 1000102"): all frames of one relaxation share it.
    `relaxed=True` reads the relaxed structure and its energy (IS2RE only) instead of the initial one.
    Raises InputError for a record that cannot be read, with file and key.
    """
    for file, count in parts(path):
        yield from read_part(file, 0, count, relaxed=relaxed)


def parts(path):
    """(file, number of records) of each shard, for `read_part`."""
    return [(file, len(_keys(file))) for file in shards(path, ".lmdb")]


def read_part(file, start, stop, relaxed=False):
    """As `read`: the records start ... stop - 1 of a shard."""
    reader = open_lmdb(file)
    for key in _keys(file)[start:stop]:
        where = f"{file}, key {key.decode()}"
        record = loads(reader.get(key), where)
        if not isinstance(record, Fields):
            raise InputError(f"{where}: a {type(record).__name__}, not a PyG Data object")
        yield _structure(attributes(record), where, relaxed)


def _keys(file):
    reader, keys = open_lmdb(file), numbered_keys(file, other_keys=(_LENGTH,))
    announced = reader.get(_LENGTH)
    if announced is not None and loads(announced, f"{file}, key length") != len(keys):
        raise InputError(f"{file}: its key `length` announces another number of records than the {len(keys)} there")
    return keys


def _structure(data, where, relaxed):
    data = {name: value for name, value in data.items() if value is not None}
    positions, energy, forces = _labels(data, where, relaxed)
    z = _array(data, "atomic_numbers", where)
    n = len(z)
    cell = _array(data, "cell", where, (3, 3)) if "cell" in data else np.zeros((3, 3))
    if np.any(z != np.round(z)) or z.min(initial=1) < 1 or z.max(initial=1) > 118:
        raise InputError(f"{where}: atomic_numbers holds {z.tolist()[:8]} ..., which are no elements")
    return Structure(
        z=z.astype(np.int64),
        pos=_array(data, positions, where, (n, 3)),
        cell=cell,
        pbc=_array(data, "pbc", where, (3,)).astype(bool) if "pbc" in data else np.full(3, cell.any()),
        energy=None if energy is None else float(_array(data, energy, where, (1,))[0]),
        forces=None if forces is None else _array(data, forces, where, (n, 3), dtype=None),
        fixed=_array(data, "fixed", where, (n,)).astype(bool) if "fixed" in data else None,
        tags=_array(data, "tags", where, (n,)).astype(np.int64) if "tags" in data else None,
        group=_group(data, where),
        source=where,
    )


def _labels(data, where, relaxed):
    """The names of positions, energy and forces that belong together; None for a label that is not there."""
    if relaxed:
        if "pos_relaxed" not in data:
            raise InputError(f"{where} has no relaxed structure (pos_relaxed): only IS2RE files can be read so")
        return "pos_relaxed", "y_relaxed" if "y_relaxed" in data else None, None
    energy = next((name for name in ("y", "energy", "y_init") if name in data), None)
    return "pos", energy, next((name for name in ("force", "forces") if name in data), None)


def _array(data, name, where, shape=None, dtype="f8"):
    if name not in data:
        raise InputError(f"{where} has no `{name}`; it has {', '.join(sorted(data))}")
    try:
        value = np.array(data[name], dtype=dtype)
        return value.reshape(-1) if shape is None else value.reshape(shape)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: `{name}` is not an array of shape {shape or '(atoms,)'}: {error}") from error


def _group(data, where):
    if "sid" not in data:
        return None
    sid = data["sid"]
    return f"sid {sid}" if isinstance(sid, str) else f"sid {int(_array(data, 'sid', where, (1,))[0])}"
