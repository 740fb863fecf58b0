"""The store: one LMDB file of structures under big-endian integer keys, a mapped index, and a metadata record."""

import logging
from pathlib import Path

import msgspec
import numpy as np

from equitensor.data.environment import ReadOnlyLMDB, is_lmdb, open_lmdb
from equitensor.data.index import ROW, Compositions, Index, LazyIndex, Names
from equitensor.data.record import Array, decode, unpack_array
from equitensor.data.sequence import Snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph import labels as table

_log = logging.getLogger(__name__)
SCHEMA = 2
# Of stores that do not say which.
_FIRST_BITS = {label.name: label.bit for label in (table.ENERGY, table.FORCES, table.STRESS)}
METADATA_KEY = b"equitensor"
PROGRESS_KEY = b"\0"  # before all records; only in a store that is being written


class Metadata(msgspec.Struct):
    """What the store says about itself. `complete` is written last: a store without it is half a store.

    atoms, flags, group and group_names: the index of schema 1, which had no arrays of its own.
    """

    schema: int
    complete: bool
    units: dict[str, str]
    count: int = 0
    elements: tuple[int, ...] = ()
    labels: dict[str, int] = {}
    bits: dict[str, int] = msgspec.field(default_factory=lambda: dict(_FIRST_BITS))
    atoms: Array | None = None
    flags: Array | None = None
    group: Array | None = None
    group_names: list[str] = []
    created: str = ""
    provenance: dict = {}


def record_key(i: int) -> bytes:
    """The key of record number i."""
    return i.to_bytes(8, "big")


def array_key(name: str) -> bytes:
    """The key of an array of the index."""
    return b"index/" + name.encode()


class Store(Snapshots):
    """Snapshots in an LMDB file, read on access, from any process, thread or DataLoader worker.

    Raises InputError, naming the file, if it is missing, truncated, not a store, or incomplete.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader = open_lmdb(path)
        self.name = str(self.path)
        metadata = _read_metadata(self._reader, self.path)
        self.units, self.provenance, self.created = metadata.units, metadata.provenance, metadata.created
        try:
            self.index = (_inline_index if metadata.schema == 1 else _mapped_index)(self._reader, metadata, self.name)
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.path}: damaged index ({error}); convert it again") from None

    def __reduce__(self):
        return Store, (self.path,)

    def read(self, i: int) -> Structure:
        raw = self._reader.get(record_key(i))
        try:
            if raw is None:
                raise ValueError("missing")
            structure = decode(raw)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise InputError(f"{self.path}, record {i}: damaged ({error}); convert it again") from None
        origin = f" ({structure.source})" if structure.source else ""
        return structure.replace(source=f"{self.path}, record {i}{origin}")


def _read_metadata(reader: ReadOnlyLMDB, path: Path) -> Metadata:
    raw = reader.get(METADATA_KEY)
    if raw is None and reader.get(PROGRESS_KEY) is None:
        raise InputError(f"{path}: an LMDB file, but not a store; `equitensor data convert` makes one")
    unfinished = f"{path}: incomplete: its conversion did not finish; repeat it, and it continues where it stopped"
    if raw is None:
        raise InputError(unfinished)
    try:
        version = msgspec.msgpack.decode(raw)["schema"]
        if version not in range(1, SCHEMA + 1):
            raise InputError(f"{path}: schema {version}, this version reads up to {SCHEMA}; convert it again")
        metadata = msgspec.msgpack.decode(raw, type=Metadata)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged metadata ({error}); convert it again") from None
    if not metadata.complete:
        raise InputError(unfinished)
    return metadata


def _inline_index(_reader, metadata: Metadata, name: str) -> Index:
    """Of schema 1: inside the metadata."""
    if metadata.atoms is None or metadata.flags is None or metadata.group is None:
        raise InputError(f"{name}: damaged metadata (it has no index); convert it again")
    return Index(
        atoms=unpack_array(metadata.atoms),
        flags=_own_bits(unpack_array(metadata.flags), metadata.bits, name),
        group=unpack_array(metadata.group),
        group_names=metadata.group_names,
        group_keys=Names.of(metadata.group_names).keys(),
        elements=metadata.elements,
        composition=None,
        compositions=None,
        energy=None,
    )


def _mapped_index(reader: ReadOnlyLMDB, metadata: Metadata, name: str) -> Index:
    """Arrays in the file, each looked up when it is asked for, because that touches all its pages."""

    def array(which, dtype, count=None):
        try:
            mapped = reader.mapped(array_key(which), dtype)
            if count is not None and len(mapped) != count:
                raise ValueError(f"{which} is not of {count} records")
        except ValueError as error:
            raise InputError(f"{name}: damaged index ({error}); convert it again") from None
        return mapped

    def load(field):
        if field == "group_names":
            return Names(array("group_text", "|u1"), array("group_ends", "<i8"))
        if field == "group_keys":
            return array(field, "<u8")
        if field == "compositions":
            parts = {"ends": "<i8", "z": "|u1", "counts": "<i4"}
            return Compositions(*(array(f"composition_{part}", dtype) for part, dtype in parts.items()))
        column = array(field, ROW[field].str, metadata.count)
        return _own_bits(column, metadata.bits, name) if field == "flags" else column

    return LazyIndex(metadata.count, metadata.elements, load)


def _own_bits(flags: np.ndarray, bits: dict[str, int], name: str) -> np.ndarray:
    """The flags of a store, whose labels may have other bits than here; labels not known here are mentioned."""
    if bits == {label.name: label.bit for label in table.labels()}:
        return flags
    own = flags & table.ISOLATED_ATOM
    for label, bit in bits.items():
        if table.is_label(label):
            own = own | ((flags & bit) != 0) * np.uint8(table.get_label(label).bit)
        elif (flags & bit).any():
            _log.warning("%s holds labels of a kind that is not known here, %s: they are not read", name, label)
    return own


def is_store(path: Path) -> bool:
    """Whether the file is a store, whole or not (another program's LMDB file is not)."""
    return is_lmdb(path) and any(open_lmdb(path).get(key) is not None for key in (METADATA_KEY, PROGRESS_KEY))
