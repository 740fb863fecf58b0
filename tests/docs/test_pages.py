"""The pages of the documentation show what the committed results say, and link to what is there."""

import importlib
import inspect
import json
import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from equitensor.data import formats, open_snapshots
from equitensor.data.label_keys import REFERENCES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tensor-products.md"


@pytest.fixture
def cp_rank(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("cp_rank")


def result():
    return json.loads((ROOT / "benchmarks" / "results" / "cp_rank.json").read_text())


def test_tables_are_those_of_the_result(cp_rank):
    for table in cp_rank.tables(result()).split("\n\n"):
        assert table in PAGE.read_text()


def test_what_the_page_says_of_the_result_is_so():
    published = {row["lmax"]: row for row in result()["ranks"] if row["source"] == "shipped" and row["published_rank"]}
    percents = [f"{100 * published[lmax]['equivariance_error']:.1f} %" for lmax in (1, 2, 3)]
    assert "by {}, {} and\n{} at L = 1, 2, 3".format(*percents) in PAGE.read_text()
    exact = [row["rank"] for row in result()["ranks"] if row["source"] == "shipped" and row["coupling_error"] < 1e-10]
    assert exact == [8, 30, 90]
    errors = [row[name] for row in result()["defaults"] for name in ("interaction", "convolution", "many-body")]
    assert len(errors) == 27 and max(errors) < 1e-9


def test_the_code_of_the_page_runs():
    starts = ("    from ", "    Interaction(", "    Convolution(", "    ManyBody(")
    code = [line[4:] for line in PAGE.read_text().splitlines() if line.startswith(starts)]
    assert len(code) == 4
    exec("\n".join(code), {})


def test_the_words_and_options_of_the_page_on_data_are_those_of_the_reader():
    page = (ROOT / "docs" / "data.md").read_text()
    words = page.partition("The words are ")[2].partition(", best first")[0]
    assert re.findall(r"`(\w+)`", words) == list(REFERENCES)
    options = set(re.findall(r"\w+_(?:key|unit)\b", page)) | {"elements"}
    options -= {"e_unit", "r_unit"}  # keys of sGDML's archives
    assert options == set(formats.settings("ase").model_fields)


def test_the_frames_of_the_page_on_data_are_read(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "data.md").read_text()
    code = [line[4:] for line in page.splitlines() if line.startswith(("    frames", "    ase.io"))]
    monkeypatch.chdir(tmp_path)
    forces = [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]
    names = {"Atoms": Atoms, "ase": ase, "symbols": "HO", "positions": [[0, 0, 0], [0, 0, 1]], "cell": [4, 4, 4]}
    exec("\n".join(code), {**names, "frames": [], "energy": -3.5, "forces": np.array(forces)})
    first = open_snapshots("data.xyz")[0]
    assert len(code) == 4 and first.energy == -3.5 and first.forces.tolist() == forces and first.pbc.all()


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text())
    assert len(targets) >= 8
    assert all((PAGE.parent / target).is_file() for target in targets)
    pictures = [PAGE.parent / target for target in targets if target.endswith(".png")]
    assert len(pictures) == 3 and all(picture.stat().st_size < 150_000 for picture in pictures)


def test_public_signatures_are_annotated(monkeypatch):
    """Those of the page of public names: each argument and what is returned."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    public = importlib.import_module("api_reference").values()
    functions = {function for value in public for function in _functions(value)}
    assert len(functions) > 150
    assert [name for name in sorted(map(_not_annotated, functions)) if name] == []


def _functions(value) -> list:
    """A function, or the constructor and the public methods of a class; without those that other packages wrote."""
    names = (
        [name for name in vars(value) if name == "__init__" or not name.startswith("_")]
        if inspect.isclass(value)
        else []
    )
    members = [vars(value)[name] for name in names] or [value]
    plain = [
        getattr(member, "fget", getattr(member, "__func__", getattr(member, "func", member))) for member in members
    ]
    functions = [inspect.unwrap(member) for member in plain if callable(member)]
    return [each for each in functions if inspect.isfunction(each) and each.__module__.startswith("equitensor")]


def _not_annotated(function) -> str:
    """Its name with what lacks an annotation; empty where nothing does."""
    names = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")] + ["return"]
    lacking = [name for name in names if name not in function.__annotations__]
    return f"{function.__module__}.{function.__qualname__}: {', '.join(lacking)}" if lacking else ""
