"""Conversion of any readable data into a store."""

import csv
import io
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from equitensor import __version__
from equitensor.data.pieces import RecordBatch, pieces, task
from equitensor.data.snapshots import find_sources, size_of
from equitensor.data.store import Store
from equitensor.data.store_writer import StoreWriter
from equitensor.data.workers import Workers
from equitensor.errors import InputError
from equitensor.whole_file import write_whole

_log = logging.getLogger(__name__)


def convert(
    sources: str | Path | Iterable[str | Path],
    out: str | Path,
    format: str = "auto",
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
    workers: int = 1,
    on_bad: str = "error",
    share: Callable[[float], None] | None = None,
    **options: Any,
) -> Store:
    """Write the structures of one or several sources into a store at `out`, checking each, and open it.

    A conversion that was killed continues where it stopped when it is repeated.

    Args:
        sources: files, folders, patterns or stores.
        out: the store to write.
        format: of the sources; "auto" determines it for each.
        overwrite: replace an existing store.
        progress: progress(count) is called as structures are written.
        workers: number of reader processes; the store does not depend on it.
        on_bad: "error" raises InputError for the first unusable record, naming file and record, and leaves nothing;
            "report" leaves such records out and lists them in `report_path(out)`; their number is in
            `provenance["left_out"]`.
        share: share(done) is called with the fraction of the input that is done, from 0 to 1.
        options: of the format (energy_key, energy_unit, stage, ...).
    """
    sources = [sources] if isinstance(sources, str | Path) else list(sources)
    out = Path(out)
    if on_bad not in ("error", "report"):
        raise InputError(f"on_bad is {on_bad!r}: say error or report")
    options = {name: value for name, value in options.items() if value is not None}
    files = [pair for source in sources for pair in find_sources(source, format)]
    if out.resolve() in [path.resolve() for path, _ in files]:
        raise InputError(f"{out}: is both source and result; name the source files, or write elsewhere")
    if not files:
        raise InputError("nothing to convert: name at least one file or folder")
    what = task(files, options, on_bad, __version__)
    with (
        Workers(workers, pieces(files), options, on_bad) as readers,
        StoreWriter(out, overwrite=overwrite, task=what) as writer,
    ):
        _write(writer, readers, progress or _nothing, share or _nothing)
        _report(out, writer.left_out)
        writer.finish(_provenance(files, options) | {"left_out": len(writer.left_out)})
    return Store(out)


def report_path(out) -> Path:
    """Where records that were left out are listed: file, record, reason."""
    return Path(out).with_name(Path(out).name + ".left_out.csv")


def _nothing(_):
    pass


def _write(writer: StoreWriter, readers: Workers, progress, share):
    """All batches that the writer does not have yet."""
    total = sum(piece.size for piece in readers.pieces) or 1.0
    first, skipped = writer.position or (0, 0)
    done = sum(piece.size for piece in readers.pieces[:first])
    said = _Said()
    share(done / total)
    for number, k, batch in readers.batches(first):
        if number > first or k >= skipped:
            said.again(readers.pieces[number].path, batch)
            count = len(writer)
            position = (number + 1, 0) if batch.last else (number, k + 1)
            writer.extend(batch.records, batch.rows, batch.left_out, position)
            for i in range(count, len(writer)):
                progress(i + 1)
        if batch.last:
            done += readers.pieces[number].size
            share(done / total)
    said.rest()
    if len(writer) == 0 and readers.pieces and not writer.left_out:
        raise InputError(f"{readers.pieces[0].path}: no structure was found in it")


class _Said:
    """Says once what the readers of several pieces of one path say each."""

    def __init__(self):
        self.first: dict[tuple, str] = {}
        self.more: Counter = Counter()

    def again(self, path: Path, batch: RecordBatch):
        for record in batch.said:
            key = path, record.template
            if key in self.first:
                self.more[key] += 1
            else:
                self.first[key] = record.msg
                logging.getLogger(record.name).handle(record)

    def rest(self):
        for key, count in self.more.items():
            _log.warning("%d more parts of %s say as much as: %s", count, key[0], self.first[key])


def _report(out: Path, left_out: list[tuple[str, str, str]]):
    path = report_path(out)
    path.unlink(missing_ok=True)  # of a store that is written anew
    if left_out:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerows([("file", "record", "reason"), *left_out])
        write_whole(path, text.getvalue())


def _provenance(files, options) -> dict:
    return {
        "sources": [{"path": str(path), "format": name, "bytes": size_of(path)} for path, name in files],
        "options": options,
        "equitensor": __version__,
    }
