"""The card of a model file: what it is for and what it is not, and its errors on data that it has not seen."""

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import save_file

from equitensor.errors import InputError
from equitensor.models.by_name import own_file
from equitensor.models.header import read_header
from equitensor.whole_file import whole_file

ENTRIES = ("summary", "level of theory", "domain", "not for", "data", "errors", "licence", "made by")


def write_card(path: str | Path, card: dict) -> None:
    """Write a card into a model file, replacing any other, without changing anything else in it.

    card: the ENTRIES, as strings or lists of strings. data, and the errors on each held-out set, are mappings from a
    description with its unit to a number. Raises InputError if an entry is missing or unknown.
    """
    if set(card) != set(ENTRIES):
        differing = ", ".join(sorted(set(card) ^ set(ENTRIES)))
        raise InputError(f"a card has the entries {', '.join(ENTRIES)}: {differing} lacks or is not among them")
    path = own_file(path)
    write_header(path, read_header(path) | {"card": {name: card[name] for name in ENTRIES}})


def write_header(path: Path, header: dict) -> None:
    """Replace the header of a model file, whole or not at all; its tensors stay."""
    with safe_open(path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata={"equitensor": json.dumps(header)})


def card_lines(card: dict) -> list[tuple[str, str]]:
    """(name, text) of each entry; lists and sets of errors take one line each."""
    lines = []
    for name, value in card.items():
        if name == "errors":
            lines += [(f"errors, {data}", _listed(numbers)) for data, numbers in value.items()]
        elif isinstance(value, dict):
            lines.append((name, _listed(value)))
        else:
            texts = value if isinstance(value, list) else [value]
            lines += [(name if text is texts[0] else "", text) for text in texts]
    return lines


def _listed(numbers: dict) -> str:
    return "; ".join(f"{what} {value:.6g}" for what, value in numbers.items())
