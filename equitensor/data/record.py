"""One structure as bytes: msgpack of plain fields and of arrays as (dtype, shape, raw bytes). No pickle."""

from functools import lru_cache

import msgspec
import numpy as np

from equitensor.graph import Structure
from equitensor.graph.labels import labels, version

Array = tuple[str, tuple[int, ...], bytearray]
_DTYPES = {name: np.dtype(name) for name in ("|b1", "|u1", "<i4", "<i8", "<f4", "<f8")}


@lru_cache(maxsize=4)
def _record(_version: int) -> tuple[type[msgspec.Struct], msgspec.msgpack.Decoder]:
    """The fields of a Structure as they lie in the store, and their decoder; absent labels are not written."""
    arrays = [(name, Array) for name in ("z", "pos", "cell", "pbc")]
    known = [(label.name, (Array if label.shape or label.per_atom else float) | None, None) for label in labels()]
    marks = [(name, Array | None, None) for name in ("fixed", "tags")]
    words = [
        ("weight", float, 1.0),
        ("config_type", str | None, None),
        ("group", str | None, None),
        ("source", str, ""),
    ]
    record = msgspec.defstruct("Record", [*arrays, *known, *marks, *words], omit_defaults=True)
    return record, msgspec.msgpack.Decoder(record)


def pack_array(array, dtype=None) -> Array:
    """(dtype, shape, little-endian bytes) of an array. Raises ValueError for a dtype a record cannot hold."""
    array = np.ascontiguousarray(array, dtype=dtype)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.str not in _DTYPES:
        raise ValueError(f"an array of dtype {array.dtype} cannot be stored")
    return array.dtype.str, array.shape, array.tobytes()


def unpack_array(packed: Array) -> np.ndarray:
    """The writable array behind (dtype, shape, bytes). Raises ValueError where these do not fit together."""
    dtype, shape, raw = packed
    if dtype not in _DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}")
    return np.frombuffer(raw, dtype=_DTYPES[dtype]).reshape(shape)


def _pack_label(label, value) -> Array | float | None:
    """A number, or an array in float32 or float64 as it came; anything else becomes float64."""
    if value is None:
        return None
    if not label.shape and not label.per_atom:
        return float(value)
    return pack_array(value, None if np.asarray(value).dtype.newbyteorder("<").str in ("<f4", "<f8") else "<f8")


def encode(structure: Structure) -> bytes:
    """The bytes of one structure: positions and cell float64, atomic numbers one byte each."""
    record, _ = _record(version())
    return msgspec.msgpack.encode(
        record(
            z=pack_array(structure.z, "|u1"),
            pos=pack_array(structure.pos, "<f8"),
            cell=pack_array(structure.cell, "<f8"),
            pbc=pack_array(structure.pbc, "|b1"),
            **{label.name: _pack_label(label, getattr(structure, label.name)) for label in labels()},
            fixed=None if structure.fixed is None else pack_array(structure.fixed, "|b1"),
            tags=None if structure.tags is None else pack_array(structure.tags, "<i4"),
            weight=float(structure.weight),
            config_type=structure.config_type,
            group=structure.group,
            source=structure.source,
        )
    )


def _unpack(value):
    """The array behind a packed one; numbers and None as they are."""
    return unpack_array(value) if isinstance(value, tuple) else value


def decode(data) -> Structure:
    """The structure behind the bytes (any buffer). Raises ValueError where they are not a record."""
    _, decoder = _record(version())
    record = decoder.decode(data)
    arrays = {name: _unpack(getattr(record, name)) for name in ("z", "pos", "cell", "pbc", "fixed", "tags")}
    arrays["z"] = arrays["z"].astype(np.int64)
    if arrays["tags"] is not None:
        arrays["tags"] = arrays["tags"].astype(np.int64)
    return Structure.of(
        **arrays,
        **{label.name: _unpack(getattr(record, label.name)) for label in labels()},
        weight=record.weight,
        config_type=record.config_type,
        group=record.group,
        source=record.source,
    )
