"""The code blocks of a page in Markdown: their language, and what is said of how they are run.

A comment right before a block of Python says why it is not run, or what has to be there:

    <!-- not run: needs a model of MACE -->
    <!-- before: x = torch.randn(5, 128) -->
"""

import ast
import re
from dataclasses import dataclass

from markdown_it import MarkdownIt

_COMMANDS = "equitensor|pip|python3?|make|cmake|torchrun|srun|echo|for|git|cd|eval|source"
_SHELL = re.compile(rf"\s*(\.venv\S*/bin/\S+|[A-Z_]+=\S+ \S+|{_COMMANDS})(\s|$)")
_NOTE = re.compile(r"<!-- (not run|before):\s+(.*?)\s*-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block: the line of the page that it begins at, counted from 1; `before`, code that its own needs."""

    line: int
    language: str
    code: str
    not_run: str = ""
    before: str = ""


def language_of(code: str) -> str:
    """What a block without a language is written in: sh, python or text."""
    if _SHELL.match(code):
        return "sh"
    try:
        ast.parse(code)
    except SyntaxError:
        return "text"
    return "python"


def blocks(page: str) -> list[Block]:
    """All blocks of a page, fenced or indented, in order."""
    listed, notes = [], {}
    for token in MarkdownIt().parse(page):
        if token.type == "html_block":
            notes = dict(_NOTE.findall(token.content))
        elif token.type in ("fence", "code_block"):
            language = token.info.strip() or language_of(token.content)
            said = {"not_run": notes.get("not run", ""), "before": notes.get("before", "")}
            listed.append(Block(token.map[0] + 1, language, token.content, **said))
            notes = {}
        elif token.type in ("paragraph_open", "heading_open"):
            notes = {}
    return listed
