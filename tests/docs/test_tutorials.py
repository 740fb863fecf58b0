"""The pages on training: their configs are configs, their commands are commands, their links lead somewhere.

Commands on data that must be downloaded or calculated first are parsed, not run.
"""

import re
import shlex
from pathlib import Path

import ase.io
import pytest
import yaml

from equitensor import models
from equitensor.cli.main import build_parser
from equitensor.data import convert
from equitensor.models.dimenet import DimeNetPlusPlus
from equitensor.models.directional import Directional
from equitensor.training import fit
from equitensor.training.config import validate

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = ("fine-tuning", "several-gpus", "tutorial-your-data", "tutorial-oc20", "tutorial-pubchemqcr")


def text(page):
    return (DOCS / f"{page}.md").read_text()


def configs(page):
    """The yaml blocks of a page, without their indentation."""
    blocks = re.findall(r"^( *)```yaml\n(.*?)^ *```", text(page), flags=re.S | re.M)
    return [
        yaml.safe_load("\n".join(line.removeprefix(indent) for line in block.splitlines())) for indent, block in blocks
    ]


def commands(page):
    """The words behind `equitensor`, of every command that a page shows."""
    joined = text(page).replace("\\\n", " ")
    lines = re.findall(r"^ +(?:torchrun .* -m )?equitensor (.*)$|^srun .* -m equitensor (.*)$", joined, flags=re.M)
    inline = re.findall(r"`equitensor ((?:train|eval|data) [^`]*)`", joined)
    return [shlex.split(one or other) for one, other in lines] + [shlex.split(words) for words in inline]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text(page))
    assert all((DOCS / target).exists() for target in targets), targets


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_commands(page):
    listed = commands(page)
    assert listed
    for words in listed:
        build_parser().parse_args(words)


def test_the_recipes_that_the_pages_name_are_there():
    for page in PAGES:
        for path in re.findall(r"datasets/\w+/\w+\.\w+", text(page)):
            assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("page", ["fine-tuning", "tutorial-your-data"])
def test_configs_are_configs(page):
    listed = configs(page)
    assert listed
    for values in listed:
        data = {"train": "mine.xyz"} | values.get("data", {})
        validate(values | {"data": data}, page)


def test_the_parts_of_the_page_are_those_of_the_models():
    page = text("fine-tuning")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+\|$", page, flags=re.M)
    assert set(Directional.PARTS) <= set(rows)
    sentence = re.search(r"`dimenet\+\+` has ([^.]*)\.", page)[1]
    assert set(re.findall(r"`(\w+)`", sentence)) == set(DimeNetPlusPlus.PARTS)


def test_the_fine_tuning_of_the_page_runs(alanine_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = ase.io.read(alanine_data / "train.xyz", ":8")
    ase.io.write("mine.xyz", frames, format="extxyz")
    Path("runs/demo/train").mkdir(parents=True)
    convert(["mine.xyz"], "runs/demo/train.lmdb")
    settings = {"cutoff": 3.0, "channels": 4, "edge_channels": 4, "lmax": 1}
    model = models.build(settings, (1, 6, 7, 8), {1: -10.0, 6: -50.0, 7: -70.0, 8: -100.0})
    models.save(model, "runs/demo/train/model.eqt")
    values = {"output": "runs/tuned", "data": {}, "train": {"max_epochs": 1, "device": "cpu"}}
    for block in configs("fine-tuning"):
        for section in ("data", "train"):
            values[section] |= block.get(section, {})
    values["data"]["valid_by"] = "frame"
    errors = fit(validate(values, "page"))["errors"]
    assert {"train, before the first step", "train", "replay", "valid"} <= set(errors)
