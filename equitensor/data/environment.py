"""Reading LMDB files: one environment per file and process, refused when the file is cut short."""

from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb
import numpy as np

from equitensor.errors import InputError

_open_files: WeakValueDictionary = WeakValueDictionary()


class ReadOnlyLMDB:
    """An LMDB file opened for reading, without locks, so that read-only media and any number of readers work.

    lmdb refuses to open a file twice in one process, so instances are shared through `open_lmdb`. A fork takes its
    environment along (without locks it is nothing but a mapped file); a pickled instance opens it anew.
    """

    def __init__(self, path: Path):
        self.path = path
        size = self.path.stat().st_size
        if size < 8192:
            raise InputError(f"{self.path}: empty or cut short ({size} bytes); copy or convert it again")
        try:
            self._env = lmdb.open(str(self.path), subdir=False, readonly=True, lock=False, readahead=False)
        except lmdb.Error as error:
            raise InputError(f"{self.path}: not a readable LMDB file ({error})") from None
        # Reading a mapped page behind the end of the file would kill the process: look before any is read.
        needed = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        if size < needed:
            self._env.close()
            raise InputError(
                f"{self.path}: truncated: {size} bytes of {needed}; copy it again or repeat the conversion"
            )

    def __reduce__(self):
        return open_lmdb, (self.path,)

    @contextmanager
    def transaction(self):
        """A read transaction; what it yields stays valid only inside (`get` returns views of the file)."""
        with self._env.begin(buffers=True) as transaction:
            yield transaction

    def get(self, key: bytes) -> bytes | None:
        """A copy of the value under `key`, or None."""
        with self._env.begin() as transaction:
            return transaction.get(key)

    def mapped(self, key: bytes, dtype: str) -> np.ndarray:
        """The value under `key` as a read-only array in place: pages of the file are read when they are looked at.

        Raises ValueError where there is none, or not a whole number of `dtype`.
        """
        with self._env.begin(buffers=True) as transaction:
            view = transaction.get(key)
            if view is None or len(view) % np.dtype(dtype).itemsize:
                raise ValueError(f"no array under {key!r}")
            if len(view) == 0:
                return np.zeros(0, dtype)
            return np.asarray(_Mapped(self, np.frombuffer(view, dtype)))

    def __len__(self):
        with self.transaction() as transaction:
            return transaction.stat()["entries"]


class _Mapped:
    """A view of a file's pages that keeps the file open as long as there are arrays of it."""

    def __init__(self, reader: ReadOnlyLMDB, view: np.ndarray):
        self.reader, self.__array_interface__ = reader, view.__array_interface__


def open_lmdb(path) -> ReadOnlyLMDB:
    """The process's one reader of an LMDB file. Raises InputError: missing, foreign or truncated file."""
    path = Path(path).resolve()
    if path.is_dir():
        path = path / "data.mdb"
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    key = (stat.st_dev, stat.st_ino)
    reader = _open_files.get(key)
    if reader is None:
        reader = _open_files[key] = ReadOnlyLMDB(path)
    return reader


def is_lmdb(path: Path) -> bool:
    """Whether the file starts like an LMDB environment (its magic number, in either byte order)."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        magic = file.read(24)[16:20]
    return magic in (b"\xde\xc0\xef\xbe", b"\xbe\xef\xc0\xde")
