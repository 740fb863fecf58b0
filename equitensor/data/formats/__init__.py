"""File formats: `recognises(path) -> bool` and `read(path, **options)`, an iterator of Structure.

The options of a format are what `read` declares, or what its `settings()` makes of that. An installed package brings
formats of its own as entry points of the group "equitensor.formats": the name of the format = a module with these.
"""

from pathlib import Path
from types import ModuleType

from equitensor.errors import InputError
from equitensor.registry import Registry
from equitensor.settings import Settings, check, left_out, settings_of


def _problem(_name: str, module) -> str | None:
    """What a module of another package lacks."""
    needed = ("recognises", "read", *("read_part",) * hasattr(module, "parts"))
    missing = [name for name in needed if not callable(getattr(module, name, None))]
    return f"it has no function {' and no function '.join(missing)}" if missing else None


# In the order in which they are asked, then those of other packages; ASE, which knows the most, comes last.
_OURS = ("oc20", "oc20-raw", "aselmdb", "pubchemqcr", "npz", "hdf5", "deepmd")
_LAST = "ase"
FORMATS = Registry(
    "format",
    "equitensor.formats",
    {name: f"{__name__}.{name.replace('-', '_')}" for name in (*_OURS, _LAST)},
    _problem,
    reserved=("auto", "store"),
)


def names() -> tuple[str, ...]:
    """The names of all formats that can be used, in the order in which they are asked."""
    return (*(name for name in FORMATS.usable() if name != _LAST), _LAST)


def get(name: str) -> ModuleType:
    """The module of a format. Raises InputError for an unknown name."""
    if name not in FORMATS:
        raise InputError(f"unknown format {name!r}; known: auto, {', '.join(names())}")
    return FORMATS.find(name)


def recognise(path: Path) -> str | None:
    """The name of the first format that recognises the path, or None."""
    return next((name for name in names() if get(name).recognises(path)), None)


def is_companion(path: Path) -> bool:
    """Whether a file or folder belongs to another that is read with it: CP2K's forces, the sets of a deepmd system."""
    from equitensor.data.formats import cp2k, deepmd

    return (path.is_file() and cp2k.is_companion(path)) or deepmd.system_of(path) is not None


def why_not(path: Path) -> str | None:
    """What a file or folder that no format takes is, and how to get it in, where that is known."""
    from equitensor.data.formats import cp2k, deepmd, foreign

    if path.is_file() and cp2k.is_companion(path):
        return "holds no structures, but what belongs to CP2K's X-pos-1.xyz beside it; name that, which takes it along"
    if (system := deepmd.system_of(path)) is not None:
        return f"a part of a system of DeePMD-kit; name the folder {system}, which takes it along"
    return foreign.advice(path)


def parts(path: Path, format: str) -> list[tuple[Path, int]] | None:
    """(file, number of records) of what `read_part` reads, or None for a format that reads a file as a whole."""
    module = get(format)
    return module.parts(path) if hasattr(module, "parts") else None


def read_part(path: Path, format: str, part: tuple[Path, int, int], **options):
    """The structures of records start ... stop - 1 of a file: part = (file, start, stop); options as for `read`."""
    return get(format).read_part(*part, **_checked(path, format, options))


def read(path: Path, format: str, **options):
    """The structures in `path`, one by one. Raises InputError for an option that the format does not have."""
    return get(format).read(path, **_checked(path, format, options))


def _checked(path, format, options) -> dict:
    options = {name: value for name, value in options.items() if value is not None}
    check(
        settings(format),
        options,
        f"{path}: ",
        lambda key, known: f"format {format} has no option {key!r}; it has {known}",
    )
    return options


def settings(name: str) -> type[Settings]:
    """The options of a format, as a pydantic model."""
    module = get(name)
    return module.settings() if hasattr(module, "settings") else settings_of(module.read, ("path",))


def all_settings() -> dict[str, tuple]:
    """The options of all formats, as fields of a pydantic model that are None where they are left out."""
    return left_out([settings(name) for name in reversed(names())])
