"""The commands with their arguments, from the parsers."""

import argparse

from equitensor.cli.main import build_parser

_WIDTH = 84


def page() -> str:
    """A section for each command."""
    return "\n".join(_section(parser) for parser in _commands(build_parser()))


def _commands(parser: argparse.ArgumentParser):
    """The parsers that run something."""
    parser.format_help()  # options that are only added when they are asked for
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for below in group.choices.values():
            yield from _commands(below)


def _section(parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=_WIDTH)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")
    actions = [each for each in parser._actions if "--help" not in each.option_strings]
    rows = [f"| {_name(each)} | {_cell(formatter._expand_help(each)) if each.help else ''} |" for each in actions]
    lines = [f"## {parser.prog}", "", parser.description or "", "", "```text", formatter.format_help().rstrip(), "```"]
    return "\n".join([*lines, "", "| argument | |", "| --- | --- |", *rows, "", parser.epilog or "", ""])


def _name(action: argparse.Action) -> str:
    metavar = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    if action.choices and action.metavar is None:
        metavar = "{" + ",".join(map(str, action.choices)) + "}"
    name = ", ".join(action.option_strings)
    return "`" + _cell(f"{name} {metavar}".strip() if name else metavar) + "`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text
