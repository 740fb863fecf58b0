"""The page on trust: its commands run, its table lists the checks there are."""

from pathlib import Path

import pytest
from ase.build import bulk

from equitensor import models
from equitensor.cli import main
from equitensor.verification import CHECKS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trust.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"cutoff": 4.0, "channels": 4, "lmax": 1, "layers": 1}
    models.save(models.build(settings, (29,), {29: -1.0}), tmp_path / "model.eqt")
    bulk("Cu").write("crystal.cif")
    return tmp_path


def test_the_commands_run(folder, capsys):
    commands = [line.partition("#")[0].split() for line in PAGE.read_text().splitlines() if line.startswith("    equi")]
    assert len(commands) == 3
    for command in commands:
        assert main([*command[1:], "--seconds", "3"]) == 0, capsys.readouterr().out
    assert (folder / "verify.json").is_file()


def test_the_table_lists_all_checks():
    rows = [line.split(" | ")[0].strip("| ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert rows[2:-1] == list(CHECKS)
