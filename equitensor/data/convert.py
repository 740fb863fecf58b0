"""Conversion of any readable data into a store."""

from collections.abc import Callable
from pathlib import Path

from equitensor import __version__
from equitensor.data.snapshots import find_sources, read_sources
from equitensor.data.store import Store, StoreWriter
from equitensor.errors import InputError


def convert(
    sources,
    out,
    format: str = "auto",
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
    **options,
) -> Store:
    """Write the structures of one or several sources into a store at `out`, and open it.

    Each structure is checked. `progress(count)` is called as structures are written; options (energy_key,
    energy_unit, stage, ...) go to the format. Raises InputError naming file and record; nothing is left at
    `out` then.
    """
    sources = [sources] if isinstance(sources, str | Path) else list(sources)
    found = [pair for source in sources for pair in find_sources(source, format)]
    if Path(out).resolve() in [path.resolve() for path, _ in found]:
        raise InputError(f"{out}: is both source and result; name the source files, or write elsewhere")
    if not found:
        raise InputError("nothing to convert: name at least one file or folder")
    with StoreWriter(out, overwrite=overwrite) as writer:
        for structure in read_sources(found, **options):
            writer.add(structure)
            if progress is not None:
                progress(len(writer))
        writer.finish(_provenance(found, options))
    return Store(out)


def _provenance(found, options) -> dict:
    return {
        "sources": [{"path": str(path), "format": name, "bytes": _size(path)} for path, name in found],
        "options": {name: value for name, value in options.items() if value is not None},
        "equitensor": __version__,
    }


def _size(path):
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
