"""What pages take from the code: a line `<!-- filled in: NAME -->` becomes what the function of that name writes."""

import re

import api_reference
import command_line
import house
import key_tables
from sphinx.application import Sphinx

_MARK = re.compile(r"^<!-- filled in: (.*?) -->$", re.MULTILINE)
_WRITERS = {
    "command line": command_line.page,
    "config": key_tables.page,
    "labels": key_tables.labels_table,
    "api": api_reference.page,
    "house": house.drawing,
}


def setup(app: Sphinx) -> dict:
    app.connect("source-read", _fill, priority=400)
    app.connect("autodoc-process-docstring", _as_plain_text, priority=400)
    return {"parallel_read_safe": True}


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = _MARK.sub(lambda mark: _WRITERS[mark[1]](), source[0])


def _as_plain_text(_app, _what, _name, _value, _options, lines: list[str]) -> None:
    """Docstrings are plain text with `code`: bars, stars and underscores in formulas are no markup."""
    for number, line in enumerate(lines):
        parts = re.split(r"(`[^`]*`)", line)
        lines[number] = "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    return re.sub(r"(?<=\w)_(?!\w)", r"\\_", re.sub(r"([|*])", r"\\\1", text))
