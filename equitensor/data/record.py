"""One structure as bytes: msgpack of plain fields and of arrays as (dtype, shape, raw bytes). No pickle."""

import msgspec
import numpy as np

from equitensor.graph import Structure

Array = tuple[str, tuple[int, ...], bytearray]
_DTYPES = {name: np.dtype(name) for name in ("|b1", "|u1", "<i4", "<i8", "<f4", "<f8")}


class Record(msgspec.Struct, omit_defaults=True):
    """The fields of a Structure as they lie in the store; absent labels are not written."""

    z: Array
    pos: Array
    cell: Array
    pbc: Array
    energy: float | None = None
    forces: Array | None = None
    stress: Array | None = None
    fixed: Array | None = None
    tags: Array | None = None
    weight: float = 1.0
    config_type: str | None = None
    group: str | None = None
    source: str = ""


_decoder = msgspec.msgpack.Decoder(Record)


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


def _float_array(array) -> Array | None:
    """Forces and stress keep float32 or float64 as they came; anything else becomes float64."""
    if array is None:
        return None
    return pack_array(array, None if np.asarray(array).dtype.newbyteorder("<").str in ("<f4", "<f8") else "<f8")


def encode(structure: Structure) -> bytes:
    """The bytes of one structure: positions and cell float64, atomic numbers one byte each."""
    return msgspec.msgpack.encode(
        Record(
            z=pack_array(structure.z, "|u1"),
            pos=pack_array(structure.pos, "<f8"),
            cell=pack_array(structure.cell, "<f8"),
            pbc=pack_array(structure.pbc, "|b1"),
            energy=None if structure.energy is None else float(structure.energy),
            forces=_float_array(structure.forces),
            stress=_float_array(structure.stress),
            fixed=None if structure.fixed is None else pack_array(structure.fixed, "|b1"),
            tags=None if structure.tags is None else pack_array(structure.tags, "<i4"),
            weight=float(structure.weight),
            config_type=structure.config_type,
            group=structure.group,
            source=structure.source,
        )
    )


def decode(data) -> Structure:
    """The structure behind the bytes (any buffer). Raises ValueError where they are not a record."""
    record = _decoder.decode(data)
    arrays = {
        name: None if (packed := getattr(record, name)) is None else unpack_array(packed)
        for name in ("z", "pos", "cell", "pbc", "forces", "stress", "fixed", "tags")
    }
    arrays["z"] = arrays["z"].astype(np.int64)
    if arrays["tags"] is not None:
        arrays["tags"] = arrays["tags"].astype(np.int64)
    return Structure(
        **arrays,
        energy=record.energy,
        weight=record.weight,
        config_type=record.config_type,
        group=record.group,
        source=record.source,
    )
