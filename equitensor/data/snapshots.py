"""Opening data: a store, or any file or folder that one of the formats reads."""

import logging
from collections.abc import Iterator
from pathlib import Path

from equitensor.data import formats
from equitensor.data.checks import checked
from equitensor.data.environment import is_lmdb
from equitensor.data.sequence import Joined, Memory, Snapshots
from equitensor.data.store import Store, is_store
from equitensor.errors import InputError
from equitensor.graph import Structure

_log = logging.getLogger(__name__)
_LARGE = 1 << 30  # bytes of input from which reading into memory deserves a word


def open_snapshots(path, format: str = "auto", **options) -> Snapshots:
    """Snapshots of a store (read from disk as needed) or of any importable file, folder or list of these.

    What is not a store is read into memory and checked, which suits files up to about a gigabyte; convert
    larger ones with `equitensor data convert`. Options (energy_key, energy_unit, stage, ...) go to the
    format. Raises InputError naming file and record for anything that cannot be used.
    """
    if isinstance(path, list | tuple):
        if not path:
            raise InputError("no data: the list of paths is empty")
        parts = [open_snapshots(each, format, **options) for each in path]
        return parts[0] if len(parts) == 1 else Joined(parts)
    path = _existing(path)
    if format == "auto" and path.is_file() and is_store(path):
        return _store(path, options)
    sources = list(find_sources(path, format))
    if all(name == "store" for _, name in sources):
        return open_snapshots([source for source, _ in sources], **options)
    _mention_size(path)
    provenance = {"sources": [str(path)], "options": {k: v for k, v in options.items() if v is not None}}
    return Memory(read_sources(sources, **options), name=str(path), provenance=provenance)


def find_sources(path, format: str = "auto") -> list[tuple[Path, str]]:
    """(file or folder, format name) pairs that make up a path; the format "store" is our own.

    A folder that no format takes as a whole stands for the files in it, in order of name; files of no known
    format are named in a warning. Raises InputError where nothing can be read.
    """
    path = _existing(path)
    if format != "auto":
        formats.get(format)
        return [(path, format)]
    if (name := _recognise(path)) is not None:
        return [(path, name)]
    if path.is_dir():
        return _sources_in_folder(path)
    hint = "an LMDB file of an unknown kind" if is_lmdb(path) else "no known format"
    raise InputError(f"{path}: {hint}; formats are {', '.join(formats.NAMES)} (--format NAME to insist on one)")


def read_sources(sources, **options) -> Iterator[Structure]:
    """The structures of (path, format) pairs, one after the other, each checked."""
    for path, name in sources:
        yield from _store(path, options) if name == "store" else checked(formats.read(path, name, **options))


def _store(path, options) -> Store:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InputError(f"{path}: a store has its keys and units settled already; leave out {', '.join(given)}")
    return Store(path)


def _existing(path) -> Path:
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    return path


def _recognise(path):
    return "store" if path.is_file() and is_store(path) else formats.recognise(path)


def _sources_in_folder(folder):
    files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    unfinished = [f for f in files if f.name.endswith((".partial", "-lock"))]
    sources = [(file, None if file in unfinished else _recognise(file)) for file in files]
    found = [(file, name) for file, name in sources if name is not None]
    if not found:
        inner = ", ".join(sorted(f.name for f in folder.iterdir() if f.is_dir()))
        hint = f"; its folders are not looked into: {inner}" if inner else ""
        raise InputError(f"{folder}: no file here has a known format ({', '.join(formats.NAMES)}){hint}")
    if len({name == "store" for _, name in found}) == 2:
        stores = ", ".join(file.name for file, name in found if name == "store")
        raise InputError(f"{folder}: holds stores ({stores}) beside other data, perhaps the same twice; name the files")
    if skipped := [file.name for file, name in sources if name is None]:
        _log.warning("%s: not read, because of no known format: %s", folder, ", ".join(skipped))
    return found


def _mention_size(path):
    files = [path] if path.is_file() else path.rglob("*")
    size = sum(file.stat().st_size for file in files if file.is_file())
    if size > _LARGE:
        _log.warning(
            "%s: reading %.1f GB into memory; `equitensor data convert` makes a store that is read from disk",
            path,
            size / 1e9,
        )
