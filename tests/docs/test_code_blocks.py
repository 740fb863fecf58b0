"""The Python on every page runs, or says why it does not; every command of ours is one that the parsers take.

Where a block needs something first, a comment before it says what (docs/site/code_blocks.py). The blocks of a page
share their names, in order, and a folder with a model file.
"""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import torch

from equitensor import models
from equitensor.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
WITH_OURS = re.compile(r"^\s*(?:\$ )?(?:torchrun .* -m |\S*bin/|python -m )?equitensor ([^#\n]*)", re.MULTILINE)
BLOCKS_TO_FIND = 20  # fewer would mean that they are not seen any more


@pytest.fixture(scope="module")
def blocks_of():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs" / "site"))
        blocks = import_module("code_blocks").blocks
    return lambda page: blocks(page.read_text())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a small model of C, H and O as model.eqt, and as what the pages call runs/my/model.eqt."""
    monkeypatch.chdir(tmp_path)
    settings = {"cutoff": 4.0, "channels": 4, "lmax": 1, "layers": 1}
    for path in ("model.eqt", "runs/my/model.eqt"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        models.save(models.build(settings, (1, 6, 8), {1: -13.6, 6: -1030.0, 8: -2040.0}), path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page, blocks_of, folder):
    names = {}
    for block in blocks_of(page):
        if block.language == "python" and not block.not_run:
            with torch.random.fork_rng():
                exec(block.before, names)
                exec(compile(block.code, f"{page.name}, line {block.line}", "exec"), names)


def test_most_blocks_are_run(blocks_of):
    python_blocks = [block for page in PAGES for block in blocks_of(page) if block.language == "python"]
    assert len(python_blocks) >= BLOCKS_TO_FIND
    assert sum(not block.not_run for block in python_blocks) >= 0.6 * len(python_blocks)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_commands(page, blocks_of):
    for block in blocks_of(page):
        for words in WITH_OURS.findall(block.code.replace("\\\n", " ") if block.language != "python" else ""):
            build_parser().parse_args(shlex.split(re.split(r"\s[|>)]|\)", words)[0]))


def test_a_block_that_fails_is_seen(blocks_of, folder, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- before: import math -->\n```python\nassert math.pi > 4\n```\n")
    with pytest.raises(AssertionError):
        test_the_python_of_a_page_runs(page, blocks_of, folder)
    page.write_text("text\n\n    x = undefined\n\n<!-- not run: never -->\n```python\nx = 1 / 0\n```\n")
    assert [block.not_run for block in blocks_of(page)] == ["", "never"]
    with pytest.raises(NameError):
        test_the_python_of_a_page_runs(page, blocks_of, folder)
