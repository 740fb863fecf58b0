"""What pages take from the code: a line `<!-- filled in: NAME -->` becomes what the function of that name writes."""

import re

import api_reference
import beside_mace
import cards
import command_line
import house
import key_tables
import learning_curves
import organics_checks
from sphinx.application import Sphinx

_MARK = re.compile(r"^<!-- filled in: (.*?) -->$", re.MULTILINE)
_WRITERS = {
    "command line": command_line.page,
    "config": key_tables.page,
    "labels": key_tables.labels_table,
    "api": api_reference.page,
    "house": house.drawing,
    "organics": cards.organics,
    "organics checks": organics_checks.section,
    "learning curves": learning_curves.page,
    "fine-tuning settings": learning_curves.settings_page,
    "organics beside MACE": beside_mace.page,
}


def setup(app: Sphinx) -> dict:
    app.connect("source-read", _fill, priority=400)
    return {"parallel_read_safe": True}


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = _MARK.sub(lambda mark: _WRITERS[mark[1]](), source[0])
