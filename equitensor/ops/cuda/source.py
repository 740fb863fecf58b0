"""The CUDA sources that travel with the package, and tables of C++ from values."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch

_PACKAGE = Path(__file__).resolve().parents[2]
CPP_TYPES = {torch.float32: "float", torch.float64: "double"}


class Unsupported(Exception):
    """There is no kernel for this problem; the message says why."""


class Source(NamedTuple):
    """A file of csrc/cuda, its text, and the headers that it includes, by name: all that the compiler reads."""

    name: str
    text: str
    headers: tuple[tuple[str, str], ...]


def source(name: str, problem: str) -> Source:
    """csrc/cuda/`name` with `problem` as its problem.h."""
    text, headers = _files(name)
    return Source(name, text, (*headers, ("problem.h", problem)))


def folder() -> Path:
    """csrc: inside an installed package, beside it in a checkout."""
    inside = _PACKAGE / "csrc"
    return inside if inside.is_dir() else _PACKAGE.parent / "csrc"


@functools.cache
def _files(name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    headers = sorted((folder() / "include").glob("*.h"))
    return (folder() / "cuda" / name).read_text(), tuple((header.name, header.read_text()) for header in headers)


def table(kind: str, name: str, rows: Iterable) -> str:
    """A C++ array, one row an entry; never empty, which C++ does not allow."""
    cells = ["{" + ", ".join(map(str, row)) + "}" if isinstance(row, tuple) else repr(row) for row in rows]
    return f"{kind} {name}[] = {{{', '.join(cells) or '{}'}}};\n"


def constants(**values: int | bool) -> str:
    """Named constants in C++."""
    return "".join(
        f"constexpr {'bool' if isinstance(value, bool) else 'int'} {name} = {int(value)};\n"
        for name, value in values.items()
    )
