"""The options of formats that read labels by name: a key and a unit for each label of the table."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic import Field, create_model

from equitensor.errors import InputError
from equitensor.graph.labels import labels, version
from equitensor.settings import Settings, settings_of

LENGTH_UNIT = Field(description="Angstrom (default), Bohr, nm")
ELEMENTS = Field(
    description="LAMMPS dump, deepmd: the elements of types 1, 2, ..., as Si O or Si,O",
    json_schema_extra={"metavar": "SYMBOL"},
)


def settings_with_labels(read: Callable) -> type[Settings]:
    """What `read` declares, and <label>_key and <label>_unit of each label, which it takes as keywords."""
    return _settings(read, version())


@lru_cache(maxsize=32)
def _settings(read: Callable, _version: int) -> type[Settings]:
    keys = {f"{each.name}_key": f"name of the {each.name}{each.key_help} in the file" for each in labels()}
    units = {f"{each.name}_unit": each.unit_help or f"default: {each.unit}" for each in labels()}
    fields: dict[str, Any] = {
        name: (str | None, Field(None, description=text)) for name, text in (keys | units).items()
    }
    own = settings_of(read, ("path",)).model_fields
    fields |= {name: (info.rebuild_annotation(), info) for name, info in own.items()}
    return create_model("Settings", __base__=Settings, **fields)


def chemical_symbols(names: list[str] | str) -> list[str]:
    """The symbols in a list, or in a text that separates them by commas. Raises InputError for what is no element."""
    from ase.data import atomic_numbers

    names = [names] if isinstance(names, str) else names
    symbols = [symbol for name in names for symbol in str(name).replace(",", " ").split()]
    if unknown := [symbol for symbol in symbols if atomic_numbers.get(symbol, 0) == 0]:
        raise InputError(f"elements: {unknown[0]!r} is no chemical symbol (Si, O, ...)")
    return symbols
