"""A conversion in pieces: files, or runs of records of a file, each read by itself into encoded batches."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equitensor.data import formats
from equitensor.data.checks import check_structure
from equitensor.data.environment import is_lmdb, open_lmdb
from equitensor.data.index import Row, row_of
from equitensor.data.record import encode
from equitensor.data.snapshots import read_source, size_of
from equitensor.data.store import Store
from equitensor.errors import InputError
from equitensor.graph import Structure

_RECORDS = 512  # of a file in one piece
_BATCH_BYTES, _BATCH_RECORDS = 1 << 20, 512
_REST = "; what follows in this file was not read"


@dataclass(frozen=True)
class Piece:
    """A path in a format or, where `part` is given, the records start ... stop - 1 of a file of it; size in bytes."""

    path: Path
    format: str
    size: float
    part: tuple[Path, int, int] | None = None

    @property
    def file(self) -> Path:
        return self.path if self.part is None else self.part[0]


@dataclass
class RecordBatch:
    """Encoded structures with their rows of the index; (file, record, reason) of those left out; what was logged.

    `last`: nothing more comes of this piece.
    """

    records: list[bytes] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    left_out: list[tuple[str, str, str]] = field(default_factory=list)
    said: list[Any] = field(default_factory=list)  # log records, each with its template
    last: bool = False


def pieces(sources) -> list[Piece]:
    """The pieces of (path, format) pairs, in order; the same for the same files."""
    return [piece for path, name in sources for piece in _pieces(Path(path), name)]


def _pieces(path: Path, name: str) -> list[Piece]:
    files = [(path, len(Store(path)))] if name == "store" else formats.parts(path, name)
    if files is None:
        return [Piece(path, name, size_of(path))]
    ranges = []
    for file, count in files:
        each = size_of(file) / max(1, count)
        for start in range(0, count, _RECORDS):
            stop = min(start + _RECORDS, count)
            ranges.append(Piece(path, name, each * (stop - start), (file, start, stop)))
    return ranges or [Piece(path, name, size_of(path))]


def task(sources, options: dict, on_bad: str, version: str) -> str:
    """A text that says what is converted and how, the same as long as the files are: their sizes and times count."""
    files = [(str(path.resolve()), name, *_state(path)) for path, name in sources]
    return json.dumps([files, sorted(options.items()), on_bad, version, _RECORDS], default=str)


def _state(path: Path) -> list:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]


def batches(piece: Piece, options: dict, on_bad: str) -> Iterator[RecordBatch]:
    """The structures of a piece, checked and encoded; the same batches each time.

    on_bad "error": raises InputError at the first record that cannot be used; "report": leaves it out and says so.
    """
    in_lmdb = piece.part is not None and is_lmdb(piece.file)  # other packages read parts of other files
    reader = open_lmdb(piece.file) if in_lmdb else None  # stays open, with its list of keys
    batch, size = RecordBatch(), 0
    structures = _structures(piece, options, batch, on_bad)
    while True:
        with _listening(batch.said):
            structure = next(structures, None)
            if structure is not None:
                batch.records.append(encode(structure))
                batch.rows.append(row_of(structure))
                size += len(batch.records[-1])
        if structure is None:
            batch.last = True
            yield batch
            del reader
            return
        if size >= _BATCH_BYTES or len(batch.records) >= _BATCH_RECORDS:
            yield RecordBatch(batch.records[:], batch.rows[:], batch.left_out[:], batch.said[:])
            for each in (batch.records, batch.rows, batch.left_out, batch.said):
                each.clear()
            size = 0


def _structures(piece: Piece, options: dict, batch: RecordBatch, on_bad: str) -> Iterator[Structure]:
    """Those that can be used; others are refused, or left out and listed in the batch."""
    if on_bad == "error":
        for structure in read_source(piece.path, piece.format, piece.part, **options):
            if piece.format != "store":
                check_structure(structure)
            yield structure
        return
    for part in _parts_of_one(piece):
        try:
            for structure in read_source(piece.path, piece.format, part, **options):
                try:
                    check_structure(structure)
                except InputError as error:
                    batch.left_out.append(_left_out(piece, error))
                else:
                    yield structure
        except InputError as error:  # of the reader, which ends with it
            file, record, reason = _left_out(piece, error)
            batch.left_out.append((file, record, reason + _REST * (part is None)))


def _parts_of_one(piece: Piece):
    """One record after the other, so that those after a damaged one are read; a file that is read as a whole."""
    if piece.part is None:
        return [None]
    file, start, stop = piece.part
    return [(file, i, i + 1) for i in range(start, stop)]


def _left_out(piece: Piece, error: InputError) -> tuple[str, str, str]:
    """(file, record, reason) out of "FILE, RECORD: REASON"."""
    text, file = str(error), str(piece.file)
    if not text.startswith(file):
        return file, "", text
    where, _, reason = text[len(file) :].partition(": ")
    return file, where.strip(", "), reason


@contextmanager
def _listening(said: list[logging.LogRecord]):
    """Keep what the package logs meanwhile, as text; the process that writes the store says it, in order."""
    logger = logging.getLogger("equitensor")
    handler, propagate = _Keeper(said), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = propagate
        logger.removeHandler(handler)


class _Keeper(logging.Handler):
    def __init__(self, said):
        super().__init__()
        self.said = said

    def emit(self, record):
        record.template, record.msg, record.args = record.msg, record.getMessage(), None
        self.said.append(record)
