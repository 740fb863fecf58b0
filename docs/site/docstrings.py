"""Docstrings are plain text with `code` and tables of bars; the reference shows them as such."""

import re

from sphinx.application import Sphinx

_INHERITED = ("implemented_properties", "discard_results_on_any_change", "model_config")  # of ASE and pydantic


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-process-docstring", _marked_up, priority=400)
    app.connect("autodoc-skip-member", lambda _app, _kind, name, _value, skip, _options: skip or name in _INHERITED)
    return {"parallel_read_safe": True}


def _marked_up(_app, _what, _name, _value, _options, lines: list[str]) -> None:
    made: list[str] = []
    table: list[str] = []
    for line in [*lines, ""]:
        if line.startswith("| ") and line.endswith("|"):
            table.append(line)
            continue
        if table:
            made += _table(table)
            table = []
        made.append(_escaped(line))
    lines[:] = made


def _table(rows: list[str]) -> list[str]:
    """Rows of bars, the second of dashes, as a table of reStructuredText."""
    made = ["", ".. list-table::", "   :header-rows: 1", ""]
    for row in (row for row in rows if not re.fullmatch(r"[|\s-]+", row)):
        cells = [_escaped(cell.strip()) for cell in row.strip("|").split("|")]
        made += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(cells)]
    return [*made, ""]


def _escaped(line: str) -> str:
    """Bars, stars and underscores in formulas are no markup."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else _escaped_formula(part) for part in parts)


def _escaped_formula(text: str) -> str:
    return re.sub(r"(?<=\w)_(?!\w)", r"\\_", re.sub(r"([|*])", r"\\\1", text))
