"""File formats: `recognises(path) -> bool` and `read(path, **options)`, an iterator of Structure."""

import importlib
import inspect
from pathlib import Path

from equitensor.errors import InputError

# In the order in which they are asked; ASE, which knows the most, comes last.
NAMES = ("oc20", "oc20-raw", "aselmdb", "pubchemqcr", "ase")


def get(name: str):
    """The module of a format. Raises InputError for an unknown name."""
    if name not in NAMES:
        raise InputError(f"unknown format {name!r}; known: auto, {', '.join(NAMES)}")
    return importlib.import_module(f"equitensor.data.formats.{name.replace('-', '_')}")


def recognise(path: Path) -> str | None:
    """The name of the first format that recognises the path, or None."""
    return next((name for name in NAMES if get(name).recognises(path)), None)


def why_not(path: Path) -> str | None:
    """What a file or folder that no format takes is, and how to get it in, where that is known."""
    from equitensor.data.formats import cp2k, foreign

    if path.is_file() and cp2k.is_companion(path):
        return "holds no structures, but what belongs to CP2K's X-pos-1.xyz beside it; name that, which takes it along"
    return foreign.advice(path)


def read(path: Path, format: str, **options):
    """The structures in `path`, one by one. Raises InputError for an option that the format does not have."""
    function = get(format).read
    allowed = [p for p in inspect.signature(function).parameters if p != "path"]
    options = {name: value for name, value in options.items() if value is not None}
    for name in options:
        if name not in allowed:
            raise InputError(f"{path}: format {format} has no option {name!r}; it has {', '.join(allowed) or 'none'}")
    return function(path, **options)
