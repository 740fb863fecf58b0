"""Settings that are declared once, in a signature: its annotations become a pydantic model.

`def read(path, relaxed: Annotated[bool, Field(description="...")] = False)` is what the config takes, what the command
line lists and what is checked.
"""

import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from equitensor.errors import InputError

Count = Annotated[int, Field(ge=1)]
CountFromZero = Annotated[int, Field(ge=0)]


class Settings(BaseModel):
    """Base of the models made here: no other keys, no infinities, whole numbers where these are asked for."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


@cache
def settings_of(declared: Callable, supplied: tuple[str, ...] = ()) -> type[Settings]:
    """The parameters of a function or a class that have names, but for those that are `supplied` by the program."""
    function = declared.__init__ if inspect.isclass(declared) else declared
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(declared).parameters.items():
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if named and name not in supplied:
            fields[name] = (hints.get(name, Any), ... if parameter.default is parameter.empty else parameter.default)
    return create_model("Settings", __base__=Settings, **fields)


def left_out(models: list[type[BaseModel]]) -> dict[str, tuple]:
    """The fields of several models as those of one, each None where it is left out; where two differ, either type."""
    fields: dict[str, tuple] = {}
    for model in models:
        for name, info in model.model_fields.items():
            kind = info.rebuild_annotation()
            if name in fields and fields[name][0] != kind | None:
                kind = fields[name][0] | kind
            extra = info.json_schema_extra
            fields[name] = (kind | None, Field(None, description=info.description, json_schema_extra=extra))
    return fields


def check(declared: type[Settings], values: dict, where: str, unknown: Callable[[str, str], str]) -> None:
    """Raises InputError, which begins with `where`: for a key that is not declared, in the words of unknown(key, those
    that are), or else for the first value that is not what its key takes."""
    for key in values:
        if key not in declared.model_fields:
            raise InputError(where + unknown(key, ", ".join(declared.model_fields) or "none"))
    try:
        declared.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
        message = re.sub(r"greater than or equal to (\S+)", r"\1 or more", message)
        key = "".join(str(part) for part in problem["loc"][:1])
        raise InputError(f"{where}{key} is {problem['input']!r}: it {message}") from None
