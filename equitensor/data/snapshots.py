"""Opening data: a store, or any file or folder that one of the formats reads."""

import glob
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from equitensor.data import formats
from equitensor.data.calculations import passed_over
from equitensor.data.checks import checked
from equitensor.data.environment import is_lmdb
from equitensor.data.sequence import Joined, Memory, Snapshots, Weighted
from equitensor.data.store import Store, is_store
from equitensor.errors import InputError, NoLabelsError
from equitensor.graph import Structure

_log = logging.getLogger(__name__)
_LARGE = 1 << 30  # bytes of input from which reading into memory deserves a word
Sources: TypeAlias = "str | Path | Mapping[str, Any] | list[Sources] | tuple[Sources, ...]"
_SAME, _SHOWN = "same calculation", 10


def open_snapshots(path: Sources, format: str = "auto", unlabelled: bool = False, **options: Any) -> Snapshots:
    """Open a store (read from disk as needed), or any file, folder, pattern or list of these that can be imported.

    A mapping {"path": ..., "weight": 2, "energy_key": ...} is a source with its own options, which take precedence, and
    a weight that multiplies those of its structures in the loss.

    Everything but a store is read into memory and checked, which suits files of up to about a gigabyte; convert larger
    ones with `equitensor data convert`. A pattern ("runs/*/vasprun.xml", "**" for folders at any depth) stands for
    the files that match it. Options (energy_key, energy_unit, stage, ...) go to the format; group_key="file" makes
    each file a group, for any format. Files without labels are refused or, with `unlabelled`, read with a warning.
    Raises InputError, naming file and record, for anything that cannot be used.
    """
    if isinstance(path, Mapping):
        return _source(dict(path), format, unlabelled, options)
    if isinstance(path, list | tuple):
        if not path:
            raise InputError("no data: the list of paths is empty")
        parts = [open_snapshots(each, format, unlabelled, **options) for each in path]
        return parts[0] if len(parts) == 1 else Joined(parts)
    path, matches = Path(path).expanduser(), _matches(path)
    if format == "auto" and path.is_file() and is_store(path):
        return _store(path, options)
    sources = list(find_sources(path, format))
    if all(name == "store" for _, name in sources):
        return open_snapshots([source for source, _ in sources], **options)
    _mention_size(matches)
    provenance = {"sources": [str(path)], "options": {k: v for k, v in options.items() if v is not None}}
    return Memory(read_sources(sources, unlabelled, **options), name=str(path), provenance=provenance)


def _source(source: dict, format: str, unlabelled: bool, options: dict) -> Snapshots:
    if "path" not in source:
        raise InputError(f"a source of data without a path: {source}")
    path, weight = source.pop("path"), source.pop("weight", 1.0)
    opened = open_snapshots(path, source.pop("format", format), unlabelled, **(options | source))
    return opened if weight == 1 else Weighted(opened, weight)


def find_sources(path, format: str = "auto") -> list[tuple[Path, str]]:
    """(file or folder, format name) pairs that make up a path; the format "store" is our own.

    A folder that no format takes as a whole stands for the files in it and in its folders, in order of name, of one
    calculation for the best one (vasprun.xml before OUTCAR); what is not read is named in a warning. Raises
    InputError where nothing can be read.
    """
    paths = _matches(path)
    if len(paths) > 1:
        same = _same_calculation(paths)
        if same:
            _log.warning("%s: not read, because beside outputs of the same calculation: %s", path, _counted(same))
        return [source for each in paths if each not in same for source in find_sources(each, format)]
    path = paths[0]
    if format != "auto":
        formats.get(format)
        return [(path, format)]
    if path.is_dir() and formats.why_not(path) is None:
        return _sources_in_folder(path)
    if (name := _recognise(path)) is not None:
        return [(path, name)]
    if (reason := formats.why_not(path)) is not None:
        raise InputError(f"{path}: {reason}")
    hint = "an LMDB file of an unknown kind" if is_lmdb(path) else "no known format"
    raise InputError(f"{path}: {hint}; formats are {', '.join(formats.names())} (--format NAME to insist on one)")


def read_sources(sources, unlabelled: bool = False, **options) -> Iterator[Structure]:
    """The structures of (path, format) pairs, one after the other, each checked; options as for `open_snapshots`."""
    for path, name in sources:
        structures = read_source(path, name, **options)
        try:
            yield from structures if name == "store" else checked(structures)  # a store's were checked
        except NoLabelsError as error:
            if not unlabelled:
                raise
            _log.warning("%s", error)


def read_source(path, name, part: tuple[Path, int, int] | None = None, **options) -> Iterator[Structure]:
    """The structures of a path in a format, or of the records start ... stop - 1 of a file of it, not yet checked."""
    by_file = options.get("group_key") == "file"
    given = {name: value for name, value in options.items() if name != "group_key"} if by_file else options
    if name == "store":
        store = _store(path, options)
        structures = store if part is None else (store[i] for i in range(*part[1:]))
    elif part is None:
        structures = formats.read(path, name, **given)
    else:
        structures = formats.read_part(path, name, part, **given)
    for structure in structures:
        yield structure.replace(group=str(path)) if by_file else structure


def _store(path, options) -> Store:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InputError(f"{path}: a store has its keys and units settled already; leave out {', '.join(given)}")
    return Store(path)


def _matches(path) -> list[Path]:
    """The path itself or, of a pattern, all that match it, in order of name."""
    path = Path(path).expanduser()
    if path.exists():
        return [path]
    if not glob.has_magic(str(path)):
        raise InputError(f"{path}: no such file or folder")
    paths = sorted(glob.glob(str(path), recursive=True))
    if not paths:
        raise InputError(f"{path}: nothing matches this pattern")
    return [Path(each) for each in paths]


def _recognise(path):
    return "store" if path.is_file() and is_store(path) else formats.recognise(path)


def _sources_in_folder(folder):
    sources = list(_walk(folder, set()))
    readable = [(file, name) for file, name in sources if name not in (None, _SAME)]
    skipped = [file for file, name in sources if name is None and not formats.is_companion(file)]
    known = next((f"{file}: {why}" for file in skipped if (why := formats.why_not(file)) is not None), None)
    if not readable:
        hint = "" if known is None else f"; {known}"
        names = ", ".join(formats.names())
        raise InputError(f"{folder}: no file here or in its folders has a known format ({names}){hint}")
    if len({name == "store" for _, name in readable}) == 2:
        stores = ", ".join(file.name for file, name in readable if name == "store")
        raise InputError(f"{folder}: holds stores ({stores}) beside other data, perhaps the same twice; name the files")
    if skipped:
        _log.warning("%s: not read, because of no known format: %s", folder, _counted(skipped))
    if known:
        _log.warning("%s", known)
    if same := [file for file, name in sources if name == _SAME]:
        _log.warning("%s: not read, because beside outputs of the same calculation: %s", folder, _counted(same))
    if folders := {file if file.is_dir() else file.parent for file, _ in readable} - {folder}:
        files = _counted([file for file, _ in readable])
        _log.warning("%s: read with %d of the folders in it: %s", folder, len(folders), files)
    return readable


def _walk(folder, seen):
    """(file or folder, format name) of all that lies below, None for no format; links that lead back are left out."""
    seen.add(folder.resolve())
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if (name := _recognise(folder)) is not None:  # as a whole, like shards
        yield folder, name
    else:
        yield from _files([entry for entry in entries if entry.is_file()])
    for entry in entries:
        if entry.is_dir() and entry.resolve() not in seen and not formats.is_companion(entry):
            yield from _walk(entry, seen)


def _same_calculation(paths) -> set[Path]:
    """The files that another one in the same folder makes superfluous."""
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        if path.is_file():
            folders.setdefault(path.parent, []).append(path)
    return {file for files in folders.values() for file in passed_over(files)}


def _files(files):
    same = _same_calculation(files)
    for file in files:
        unfinished = ".partial" in file.suffixes or file.name.endswith("-lock")
        yield file, _SAME if file in same else None if unfinished else _recognise(file)


def _counted(files) -> str:
    """Names, each once, with how often it occurs: "OUTCAR (12 times), POSCAR"."""
    counts = Counter(file.name for file in files).most_common()
    shown = [name if count == 1 else f"{name} ({count} times)" for name, count in counts[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _mention_size(paths):
    size = sum(map(size_of, paths))
    if size > _LARGE:
        _log.warning(
            "%s: reading %.1f GB into memory; `equitensor data convert` makes a store that is read from disk",
            paths[0],
            size / 1e9,
        )
