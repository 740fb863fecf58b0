"""The keys of a config, in words: what `equitensor config` prints and the reference of the documentation holds."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from equitensor.models import architectures
from equitensor.training.config import config_class
from equitensor.training.config_sections import Replay, Source, Subtract

_RANGES = {"minimum": "{} or more", "exclusiveMinimum": "above {}", "maximum": "{} or less", "exclusiveMaximum": "< {}"}
_TYPES = {"string": "text", "number": "number", "integer": "integer", "boolean": "true, false", "null": "null"}


@dataclass(frozen=True)
class Key:
    """One key: name with dots, values that it takes, default in YAML ("" where there is none), meaning."""

    name: str
    values: str
    default: str
    meaning: str


def schema() -> dict:
    """The JSON schema of a config file, for editors."""
    described = config_class().model_json_schema()
    described["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    described["title"] = "equitensor train"
    return described


def keys() -> dict[str, list[Key]]:
    """The keys of each section, the sections in order; of `model` those of all architectures. Mappings that name data
    also take the options of the formats, which stand in `data`."""
    config = config_class()
    sections = {"": [_key("", name, info) for name, info in config.model_fields.items() if not _is_section(info)]}
    for name, info in config.model_fields.items():
        if _is_section(info):
            sections[name] = list(_section(name, cast("type[BaseModel]", info.annotation)))
    below: dict[str, type[BaseModel]] = {"data.subtract": Subtract, "data.replay": Replay, "a source": Source}
    sections |= {name: list(_section("" if section is Source else name, section)) for name, section in below.items()}
    return {"run": sections.pop(""), **sections}


def _is_section(info: FieldInfo) -> bool:
    return isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)


def _section(prefix: str, section: type[BaseModel]) -> Iterator[Key]:
    for name, info in section.model_fields.items():
        if not _is_section(info):
            default = _of_architectures(name) if prefix == "model" and info.default is None else None
            yield _key(prefix, name, info, default)


def _key(prefix: str, name: str, info: FieldInfo, default: str | None = None) -> Key:
    full = f"{prefix}.{name}" if prefix else name
    if default is None:
        default = "" if info.is_required() else _yaml(info.get_default(call_default_factory=True))
    values = _words(TypeAdapter(info.rebuild_annotation()).json_schema())
    return Key(full, values, default, info.description or "")


def _of_architectures(name: str) -> str:
    """The default of a setting in each architecture that has it."""
    having = {}
    for architecture in architectures.ARCHITECTURES.usable():
        fields = architectures.settings(architecture).model_fields
        if name in fields:
            having[architecture] = _yaml(fields[name].default)
    return ", ".join(f"{value} ({architecture})" for architecture, value in having.items())


def _yaml(value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _words(schema: dict) -> str:
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    if "$ref" in schema:
        return "mapping"
    several = schema.get("anyOf") or schema.get("oneOf")
    if several:
        return " or ".join(dict.fromkeys(_words(each) for each in several))
    if schema.get("type") == "array":
        return f"list of {_words(schema.get('items', {}))}"
    if schema.get("type") == "object":
        return "mapping"
    ranges = [text.format(schema[name]) for name, text in _RANGES.items() if name in schema]
    return ", ".join([_TYPES.get(schema.get("type", ""), "any"), *ranges])
