"""The check of words rejects each of them, in code, comments and pages, and nothing that the field says."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def words():
    spec = importlib.util.spec_from_file_location("words", ROOT / ".ci" / "words.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "path, line, instead",
    [
        ("a.py", "found = [1, 2]", "errors, edges, results"),
        ("a.py", "x = f(along)", "tangent"),
        ("a.py", "def _room_for_rows(): ...", "buffer"),
        ("a.py", "def numbers(shape): ...", "values"),
        ("a.py", "def like(x): ...", "what it returns"),
        ("a.py", "# the slope of the energy", "gradient"),
        ("a.py", 'raise ValueError("the form without numbers is missing")', "meta or fake"),
        ("a.cpp", "double along = 0;", "tangent"),
        ("a.inl", "template <class T> struct Four {", "what it holds"),
        ("a.h", "// the derivative by x", "derivative with respect to"),
        ("a.js", "const found = [];", "errors, edges, results"),
        ("a.md", "Both give the same numbers.", "values"),
    ],
)
def test_what_must_not_come_back_is_told(words, path, line, instead):
    (problem,) = words.problems(path, f"\n{line}\n")
    assert problem.startswith(f"{path}:2: ") and instead in problem


@pytest.mark.parametrize(
    "path, line",
    [
        ("a.py", "def of(atomic_numbers): ..."),
        ("a.py", "z = atoms.numbers  # along the axis, found in the file"),
        ("a.py", 'text = "found along a line"'),
        ("a.cpp", "// what is found along the edge"),
        ("a.cpp", "size += values.data() - other.found;"),
        ("a.md", "The atomic numbers along the chain, as found; four of them."),
    ],
)
def test_plain_english_passes(words, path, line):
    assert list(words.problems(path, line + "\n")) == []


def test_an_exception_is_for_one_line_of_one_file(words, monkeypatch):
    monkeypatch.setattr(words, "EXCEPTIONS", {("a.py", "found = 1"): "for the test"})
    assert list(words.problems("a.py", "found = 1\n")) == []
    assert len(list(words.problems("b.py", "found = 1\n"))) == len(list(words.problems("a.py", "found = 2\n"))) == 1


def test_every_exception_is_still_needed(words):
    for path, line in words.EXCEPTIONS:
        assert line in map(str.strip, (ROOT / path).read_text().splitlines())
