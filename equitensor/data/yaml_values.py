"""YAML as people write it: numbers, true and false as YAML 1.2 has them, and no key twice.

PyYAML follows YAML 1.1, where 1e-3 and 1.0e1 are strings, 010 is 8, 1:30 is 90, No is false, and the last of two equal
keys silently wins.
"""

import re

import yaml

_PATTERNS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 (none of YAML 1.1; filled in below)


class _Dumper(yaml.SafeDumper):
    """Quotes what either of the two versions would read as something else than a string."""


def _number(loader, node) -> int | float:
    text = loader.construct_scalar(node).replace("_", "").lower()
    if text.startswith(("0x", "0o")):
        return int(text, 0)
    if text.lstrip("+-").isdigit():
        return int(text)
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _mapping(loader, node) -> dict:
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            value = loader.construct_object(key)
            if value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{value} is there twice", key.start_mark)
            seen.add(value)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


for _name, _pattern, _first in _PATTERNS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), list(_first))
for _name in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", _number)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse_yaml(text: str):
    """The plain values in a YAML text. Raises ValueError with one line that says where it is none."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader: plain values only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        hint = " (a pattern that begins with * needs quotes)" if error.context == "while scanning an alias" else ""
        raise ValueError(f"{where}{error.problem or error.context}{hint}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def format_yaml(values) -> str:
    """The YAML text of plain values, keys in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)
