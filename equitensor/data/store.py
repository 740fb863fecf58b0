"""The store: one LMDB file of structures under big-endian integer keys, with a metadata record."""

import contextlib
import logging
import os
import time
from pathlib import Path

import lmdb
import msgspec
import numpy as np
from filelock import FileLock, Timeout

from equitensor.data.environment import is_lmdb, open_lmdb
from equitensor.data.record import Array, decode, encode, pack_array, unpack_array
from equitensor.data.sequence import Index, IndexBuilder, Snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph import labels as table

_log = logging.getLogger(__name__)
SCHEMA = 1
# Of stores that do not say which.
_FIRST_BITS = {label.name: label.bit for label in (table.ENERGY, table.FORCES, table.STRESS)}
_METADATA_KEY = b"equitensor"
_BATCH_BYTES = 8 << 20


class Metadata(msgspec.Struct):
    """What the store says about itself. `complete` is written last: a store without it is half a store."""

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


def _key(i: int) -> bytes:
    return i.to_bytes(8, "big")


class Store(Snapshots):
    """Snapshots in an LMDB file, read on each access, from any process, thread or DataLoader worker.

    Raises InputError, naming the file, where it is missing, truncated, not a store, or not wholly written.
    """

    def __init__(self, path):
        self.path = Path(path)
        self._reader = open_lmdb(path)
        self.name = str(self.path)
        metadata = self._read_metadata()
        self.units, self.provenance, self.created = metadata.units, metadata.provenance, metadata.created
        self.index = Index(
            atoms=unpack_array(metadata.atoms),
            flags=_own_bits(unpack_array(metadata.flags), metadata.bits, self.name),
            group=unpack_array(metadata.group),
            group_names=metadata.group_names,
            elements=metadata.elements,
        )

    def _read_metadata(self) -> Metadata:
        raw = self._reader.get(_METADATA_KEY)
        if raw is None:
            raise InputError(f"{self.path}: an LMDB file, but not a store; `equitensor data convert` makes one")
        try:
            version = msgspec.msgpack.decode(raw)["schema"]
            if version != SCHEMA:
                raise InputError(f"{self.path}: schema {version}, this version reads {SCHEMA}; convert it again")
            metadata = msgspec.msgpack.decode(raw, type=Metadata)
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            raise InputError(f"{self.path}: damaged metadata ({error}); convert it again") from None
        if not metadata.complete:
            raise InputError(f"{self.path}: incomplete: its conversion did not finish; convert it again")
        return metadata

    def read(self, i) -> Structure:
        raw = self._reader.get(_key(i))
        try:
            if raw is None:
                raise ValueError("missing")
            structure = decode(raw)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise InputError(f"{self.path}, record {i}: damaged ({error}); convert it again") from None
        origin = f" ({structure.source})" if structure.source else ""
        return structure.replace(source=f"{self.path}, record {i}{origin}")


def _own_bits(flags: np.ndarray, bits: dict[str, int], name: str) -> np.ndarray:
    """The flags of a store, whose labels may have other bits than here; labels not known here are mentioned."""
    own = flags & table.ISOLATED_ATOM
    for label, bit in bits.items():
        if table.is_label(label):
            own = own | ((flags & bit) != 0) * np.uint8(table.by_name(label).bit)
        elif (flags & bit).any():
            _log.warning("%s holds labels of a kind that is not known here, %s: they are not read", name, label)
    return own


def is_store(path: Path) -> bool:
    """Whether the file is a store, whole or not (another program's LMDB file is not)."""
    return is_lmdb(path) and open_lmdb(path).get(_METADATA_KEY) is not None


class StoreWriter:
    """Writes a store beside its final path and moves it there on `finish`: no half store has that name.

    Use as a context manager: leaving it without `finish` (an error, Ctrl-C) removes what was written; a
    killed process leaves `<path>.partial`, which opens as "incomplete", and its lock; the next conversion
    overwrites both. Raises InputError where the disk is full or the folder cannot be written, or another process
    is writing there.
    """

    def __init__(self, path, overwrite: bool = False):
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self._index, self._pending, self._pending_bytes = IndexBuilder(), [], 0
        self._map_size = 4 * _BATCH_BYTES
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._claim()
        if self.path.exists() and not overwrite:
            self._release()
            raise InputError(f"{self.path}: exists already; choose another name or pass --overwrite")
        with self._explained():
            self.partial.write_bytes(b"")
            self._env = lmdb.open(str(self.partial), subdir=False, lock=False, sync=False, map_size=self._map_size)
        self._commit([(_METADATA_KEY, self._metadata(complete=False))])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._discard()

    def __len__(self):
        return len(self._index.atoms)

    def add(self, structure: Structure):
        """Append one structure."""
        value = encode(structure)
        self._pending.append((_key(len(self)), value))
        self._pending_bytes += len(value)
        self._index.add(structure)
        if self._pending_bytes >= _BATCH_BYTES:
            self._flush()

    def finish(self, provenance: dict | None = None):
        """Write the last records and the completed metadata, sync to disk, and give the file its name."""
        self._flush()
        self._commit([(_METADATA_KEY, self._metadata(complete=True, provenance=provenance or {}))])
        with self._explained():
            self._env.sync(True)
            needed = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
            self._env.close()
            with self.partial.open("r+b") as file:
                file.truncate(needed)  # pages freed at the end may not have been written; readers check the length
                os.fsync(file.fileno())
            os.replace(self.partial, self.path)
        self._release()

    def _metadata(self, complete, provenance=None) -> bytes:
        index = self._index.build()
        labels = table.labels()
        return msgspec.msgpack.encode(
            Metadata(
                schema=SCHEMA,
                complete=complete,
                units={"length": "Angstrom"} | {label.name: label.unit for label in labels},
                count=len(index),
                elements=index.elements,
                labels={label.name: int(index.has(label).sum()) for label in labels},
                bits={label.name: label.bit for label in labels},
                atoms=pack_array(index.atoms, "<i4"),
                flags=pack_array(index.flags, "|u1"),
                group=pack_array(index.group, "<i4"),
                group_names=index.group_names,
                created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                provenance=provenance or {},
            )
        )

    def _claim(self) -> FileLock:
        """Lock the name of the partial file, until the process ends, however it does."""
        lock = FileLock(self.partial.with_name(self.partial.name + "-lock"), blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(f"{self.partial}: another conversion is writing this file") from None
        return lock

    def _release(self):
        with contextlib.suppress(OSError):  # Windows removes it itself, after the release
            os.unlink(self._lock.lock_file)
        self._lock.release()
        self._lock = None

    def _flush(self):
        self._commit(self._pending)
        self._pending, self._pending_bytes = [], 0

    def _commit(self, items):
        with self._explained():
            while True:
                try:
                    with self._env.begin(write=True) as transaction:
                        for key, value in items:
                            transaction.put(key, value)
                    return
                except lmdb.MapFullError:
                    self._map_size *= 2
                    self._env.set_mapsize(self._map_size)

    @contextlib.contextmanager
    def _explained(self):
        try:
            yield
        except (lmdb.Error, OSError) as error:
            self._discard()
            raise InputError(
                f"{self.path}: could not be written ({error}); is the disk full or read-only? "
                "Nothing was kept; free space or choose another place, and convert again"
            ) from None

    def _discard(self):
        if getattr(self, "_lock", None) is None:
            return
        if hasattr(self, "_env"):
            self._env.close()
        self.partial.unlink(missing_ok=True)
        self._release()
