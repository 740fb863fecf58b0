"""One structure of anything: a frame of what ASE reads, a record of a store, of LMDB shards, of a folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from equitensor.data import formats
from equitensor.data.checks import check_structure
from equitensor.data.frames import format_of, read_frame
from equitensor.data.snapshots import find_sources, open_snapshots, read_source
from equitensor.data.store import is_store
from equitensor.errors import InputError, NoLabelsError

if TYPE_CHECKING:
    from ase import Atoms

    from equitensor.graph import Structure


def read_single(path: Path, index: int | None = None) -> Atoms:
    """One ase.Atoms of a file or folder, the last unless an index is given.

    ASE reads what it knows by its ending, and what no format of ours takes. Of a store, and of the last record of
    shards, no other record is read. Raises InputError for a structure that there is not.
    """
    if path.is_file() and (format_of(path) is not None or _is_for_ase(path)):
        return read_frame(path, index)
    if path.is_file() and is_store(path):
        store = open_snapshots(path)
        number = len(store) - 1 if index is None else index
        structure = store[number] if -len(store) <= number < len(store) else None
    else:
        sources = list(find_sources(path))
        structure = _last(sources) if index is None else _numbered(sources, index)
    if structure is None:
        which = "no structure" if index is None else f"no structure number {index} (they count from 0)"
        raise InputError(f"{path}: there is {which} in it")
    check_structure(structure)
    return structure.to_ase()


def _is_for_ase(path: Path) -> bool:
    return not is_store(path) and formats.recognise(path) in ("ase", None)


def _numbered(sources: list[tuple[Path, str]], index: int) -> Structure | None:
    every = (structure for path, name in sources for structure in _structures(path, name))
    if index >= 0:
        return next(islice(every, index, None), None)
    kept = deque(every, maxlen=-index)
    return kept[0] if len(kept) == -index else None


def _last(sources: list[tuple[Path, str]]) -> Structure | None:
    for path, name in reversed(sources):
        parts = None if name == "store" else formats.parts(path, name)
        if parts is None:
            kept = deque(_structures(path, name), maxlen=1)
        else:
            records = ((file, k) for file, count in reversed(parts) for k in reversed(range(count)))
            lasts = (deque(read_source(path, name, (file, k, k + 1)), maxlen=1) for file, k in records)
            kept = next((each for each in lasts if each), deque())
        if kept:
            return kept[0]
    return None


def _structures(path: Path, name: str) -> Iterator[Structure]:
    """The structures of a source, which need no labels."""
    try:
        yield from read_source(path, name)
    except NoLabelsError:  # at the end
        return
