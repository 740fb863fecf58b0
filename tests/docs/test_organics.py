"""The page on the potential that comes with equitensor: its commands run, its table is the card in the file."""

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import ase.io
import pytest

from equitensor import models
from equitensor.cli import main
from equitensor.interfaces import Calculator

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "organics.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """examples/aspirin.xyz, and mine.xyz and valid.xyz with labels; mine.eqt, which the page copies."""
    monkeypatch.chdir(tmp_path)
    Path("examples").mkdir()
    shutil.copy(ROOT / "examples" / "aspirin.xyz", "examples")
    shutil.copy(models.model_path("organics"), "mine.eqt")
    calc = Calculator("organics", device="cpu", error_bars=False)
    for name, count in (("mine.xyz", 6), ("valid.xyz", 9)):
        frames = [ase.io.read("examples/aspirin.xyz") for _ in range(count)]
        for seed, atoms in enumerate(frames):
            atoms.rattle(0.02 * count**0.5, seed=seed)
            atoms.calc = calc
            atoms.get_forces()
        ase.io.write(name, frames)


def test_the_commands_of_the_page_run(folder, capsys):
    commands = re.findall(r"^    equitensor ([^#\n]*)", PAGE.read_text(), re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        words = shlex.split(command.replace("--steps 2000", "--steps 4 --overwrite"))
        assert main([*words, "--seconds", "3"] if words[0] == "verify" else words) == 0, capsys.readouterr().err


def test_the_training_of_the_page_runs(folder, capsys):
    Path("mine.yaml").write_text(re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])
    short = ["data.valid=valid.xyz", "train.max_epochs=1", "train.threads=1", "train.device=cpu"]
    assert main(["train", "mine.yaml", *short]) == 0, capsys.readouterr().err
    header = models.read_header("runs/mine/model.eqt")
    assert header["settings"] == models.read_header("organics")["settings"]
    assert "card" not in header and header["provenance"]["config"]["train"]["init_from"] == "organics"


def test_its_table_is_the_card(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    table = import_module("cards").organics()
    card = models.read_header("organics")["card"]
    assert card["summary"] in table and all(f"errors, {name}" in table for name in card["errors"])
    assert len(re.findall(r"^\| .* \|$", table, re.MULTILINE)) == table.count("\n") + 1
