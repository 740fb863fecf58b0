"""Writing a store: records and a journal of its index, so that a killed process goes on where it was."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import lmdb
import msgspec
import numpy as np
from filelock import FileLock, Timeout

from equitensor.data.index import ROW, Compositions, IndexBuilder, Names, Row, elements_of, row_of
from equitensor.data.record import encode
from equitensor.data.store import METADATA_KEY, PROGRESS_KEY, SCHEMA, Metadata, array_key, record_key
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph import labels as table

_log = logging.getLogger(__name__)
_BATCH_BYTES = 32 << 20
_LENGTH = 8  # bytes before each block of the journal
LeftOut = tuple[str, str, str]


class _Progress(msgspec.Struct):
    """What is certain of a store that is being written: of which task, records, bytes of the journal, position."""

    task: str
    count: int
    journal: int
    position: tuple[int, ...]


class _Block(msgspec.Struct, array_like=True):
    """The index of the records of one commit: columns, names and compositions met first in it, records left out."""

    columns: dict[str, bytes]
    names: list[str]
    compositions: list[bytes]
    left_out: list[LeftOut]


class StoreWriter:
    """Write a store next to its final path and move it there on `finish`, so that no incomplete store has that name.

    Use it as a context manager: leaving it by an error, without `finish`, removes what was written. If the process is
    killed, or interrupted with a `task`, `<path>.partial`, which opens as "incomplete", and its journal remain. A
    writer with the same task (a text that says what is written) continues after the last commit, whose position it
    has; any other writer overwrites them. Raises InputError if the disk is full, the folder is not writable, or
    another process is writing the store.
    """

    def __init__(self, path: str | Path, overwrite: bool = False, task: str | None = None) -> None:
        self.path, self.task = Path(path), task
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.journal = self.path.with_name(self.path.name + ".index.partial")
        self.position: tuple[int, ...] = ()
        self.left_out: list[LeftOut] = []
        self._index, self._pending, self._pending_bytes = IndexBuilder(), [], 0
        self._saved = (0, 0, 0, 0)  # rows, names, compositions, records left out in the journal
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._claim()
        if self.path.exists() and not overwrite:
            if not self.partial.exists():
                self.journal.unlink(missing_ok=True)  # of a process that was killed after its last step but one
            self._release()
            raise InputError(f"{self.path}: exists already; choose another name or pass --overwrite")
        with self._explained():
            if not self._recovered():
                self._begin()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None and issubclass(kind, KeyboardInterrupt | ResumableError) and self.task is not None:
            self._close()
        else:
            self._discard()

    def __len__(self) -> int:
        return len(self._index)

    def add(self, structure: Structure) -> None:
        """Append one structure."""
        self.extend([encode(structure)], [row_of(structure)])

    def extend(
        self, records: list[bytes], rows: list[Row], left_out: Iterable[tuple] = (), position: tuple[int, ...] = ()
    ) -> None:
        """Append encoded structures with their rows of the index; position says how far the task has come."""
        count = len(self._index)
        for number, (record, row) in enumerate(zip(records, rows, strict=True), count):
            self._pending.append((record_key(number), record))
            self._pending_bytes += len(record)
            self._index.add(row)
        self.left_out.extend(left_out)
        self.position = tuple(position)
        if self._pending_bytes >= _BATCH_BYTES:
            self._flush()

    def finish(self, provenance: dict | None = None) -> None:
        """Write the last records, the index and the metadata, sync to disk, and move the file to its final name."""
        self._flush()
        for name, array in self._arrays():
            self._commit(_putting(array_key(name), array))
        metadata = msgspec.msgpack.encode(self._metadata(provenance or {}))
        self._commit(lambda transaction: (transaction.delete(PROGRESS_KEY), transaction.put(METADATA_KEY, metadata)))
        with self._explained():
            self._env.sync(True)
            needed = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
            self._env.close()
            with self.partial.open("r+b") as file:
                file.truncate(needed)  # pages freed at the end may not have been written; readers check the length
                os.fsync(file.fileno())
            os.replace(self.partial, self.path)
            self._journal.close()
            self.journal.unlink()
        self._release()

    def _arrays(self):
        """(name, array) of all that the index maps."""
        for name, column in self._index.columns.items():
            yield name, np.frombuffer(column, ROW[name])
        compositions = Compositions.of(list(self._index.compositions))
        yield "composition_ends", compositions.ends.astype("<i8")
        yield "composition_z", compositions.z
        yield "composition_counts", compositions.counts.astype("<i4")
        names = Names.of(self._index.names)
        yield from (("group_text", names.text), ("group_ends", names.ends.astype("<i8")), ("group_keys", names.keys()))

    def _metadata(self, provenance) -> Metadata:
        flags = np.frombuffer(self._index.columns["flags"], ROW["flags"])
        labels = table.labels()
        return Metadata(
            schema=SCHEMA,
            complete=True,
            units={"length": "Angstrom"} | {label.name: label.unit for label in labels},
            count=len(self),
            elements=elements_of(self._index.compositions),
            labels={label.name: int(np.count_nonzero(flags & label.bit)) for label in labels},
            bits={label.name: label.bit for label in labels},
            created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            provenance=provenance,
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

    def _begin(self):
        self.partial.write_bytes(b"")
        self._open(4 * _BATCH_BYTES)
        self._journal = self.journal.open("wb")
        self._commit(self._put_progress)

    def _open(self, map_size):
        self._map_size = map_size
        self._env = lmdb.open(str(self.partial), subdir=False, lock=False, map_size=map_size)

    def _recovered(self) -> bool:
        """Go on with what a killed process left of this task, if it did."""
        if self.task is None or not (self.partial.is_file() and self.journal.is_file()):
            return False
        try:
            self._open(2 * self.partial.stat().st_size + 4 * _BATCH_BYTES)
        except lmdb.Error:  # killed while the file was made
            return False
        try:
            with self._env.begin() as transaction:
                raw = transaction.get(PROGRESS_KEY)
            progress = None if raw is None else msgspec.msgpack.decode(raw, type=_Progress)
            if progress is not None and progress.task == self.task and self._replayed(progress):
                self.position = progress.position
                return True
        except (lmdb.Error, msgspec.MsgspecError):
            pass
        self._env.close()
        del self._env
        self._index, self.left_out = IndexBuilder(), []
        _log.warning("%s belongs to another task or is damaged: it is overwritten", self.partial)
        return False

    def _replayed(self, progress: _Progress) -> bool:
        """Read the journal up to the last commit, and cut off what lies behind."""
        with self.journal.open("rb") as file:
            while file.tell() < progress.journal:
                length = int.from_bytes(file.read(_LENGTH), "little")
                self._replay(msgspec.msgpack.decode(file.read(length), type=_Block))
        if len(self._index) != progress.count:
            return False
        os.truncate(self.journal, progress.journal)
        self._journal = self.journal.open("ab")
        self._mark_saved()
        return True

    def _replay(self, block: _Block):
        index = self._index
        for name, raw in block.columns.items():
            index.columns[name].frombytes(raw)
        for name in block.names:
            index.names.setdefault(name, len(index.names))
        for composition in block.compositions:
            index.compositions.setdefault(composition, len(index.compositions))
        self.left_out.extend(block.left_out)

    def _mark_saved(self):
        index = self._index
        self._saved = len(index), len(index.names), len(index.compositions), len(self.left_out)

    def _flush(self):
        """Commit what is pending: first the journal, then the records together with how long the journal is."""
        rows, names, compositions, left_out = self._saved
        block = _Block(
            {name: column[rows:].tobytes() for name, column in self._index.columns.items()},
            _latest(self._index.names, names),
            _latest(self._index.compositions, compositions),
            self.left_out[left_out:],
        )
        raw = msgspec.msgpack.encode(block)
        with self._explained():
            self._journal.write(len(raw).to_bytes(_LENGTH, "little") + raw)
            self._journal.flush()
            os.fsync(self._journal.fileno())
        self._commit(self._put_pending)
        self._mark_saved()
        self._pending, self._pending_bytes = [], 0

    def _put_pending(self, transaction):
        if self._pending:
            transaction.cursor().putmulti(self._pending, append=True)  # pages are filled: keys ascend
        self._put_progress(transaction)

    def _put_progress(self, transaction):
        progress = _Progress(self.task or "", len(self), self._journal.tell(), self.position)
        transaction.put(PROGRESS_KEY, msgspec.msgpack.encode(progress))

    def _commit(self, put: Callable[[lmdb.Transaction], object]):
        with self._explained():
            while True:
                try:
                    with self._env.begin(write=True) as transaction:
                        put(transaction)
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

    def _close(self):
        """Leave what was committed to a later writer with the same task."""
        if getattr(self, "_lock", None) is None:
            return
        for each in (getattr(self, "_env", None), getattr(self, "_journal", None)):
            if each is not None:
                each.close()
        self._release()

    def _discard(self):
        if getattr(self, "_lock", None) is None:
            return
        for each in (getattr(self, "_env", None), getattr(self, "_journal", None)):
            if each is not None:
                with contextlib.suppress(OSError):  # what is left in a buffer may not fit
                    each.close()
        self.partial.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)
        self._release()


def _putting(key: bytes, value) -> Callable:
    """Of a transaction: put this."""
    return lambda transaction: transaction.put(key, value)


def _latest(numbered: dict, before: int) -> list:
    """The keys that were added since there were so many, in their order."""
    return list(islice(reversed(numbered), len(numbered) - before))[::-1]


class ResumableError(InputError):
    """An error that is not one of the data: what was written is kept, and the same command goes on."""
