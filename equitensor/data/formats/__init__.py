"""File formats: `recognises(path) -> bool` and `read(path, **options)`, an iterator of Structure.

The options of a format are what `read` declares, or what its `settings()` makes of that.
"""

import importlib
from pathlib import Path

from pydantic import ValidationError

from equitensor.errors import InputError
from equitensor.settings import Settings, left_out, problems, settings_of

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
    declared, options = settings(format), {name: value for name, value in options.items() if value is not None}
    for name in options:
        if name not in declared.model_fields:
            known = ", ".join(declared.model_fields) or "none"
            raise InputError(f"{path}: format {format} has no option {name!r}; it has {known}")
    try:
        declared.model_validate(options)
    except ValidationError as error:
        key, value, message = problems(error)[0]
        raise InputError(f"{path}: {key} is {value!r}: it {message}") from None
    return get(format).read(path, **options)


def settings(name: str) -> type[Settings]:
    """The options of a format, as a pydantic model."""
    module = get(name)
    return module.settings() if hasattr(module, "settings") else settings_of(module.read, ("path",))


def all_settings() -> dict[str, tuple]:
    """The options of all formats, as fields of a pydantic model that are None where they are left out."""
    return left_out([settings(name) for name in reversed(NAMES)])
