"""`equitensor data`: convert, then info."""

import argparse

import pytest

from equitensor.cli import data
from equitensor.cli.data import add_parser
from equitensor.data import formats
from equitensor.errors import InputError


def run(*argv):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    args = parser.parse_args(["data", *map(str, argv)])
    return args.run(args)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("2\ntotal=27.2 other=1 pbc='F F F'\nH 0 0 0\nH 0 0 0.7\n" * 3)
    return path


def test_convert_then_info(source, tmp_path, capsys):
    out = tmp_path / "a.lmdb"
    assert run("convert", source, out, "--energy-key", "total", "--energy-unit", "kcal/mol") == 0
    assert "wrote" in capsys.readouterr().out
    assert run("info", out) == 0
    text = capsys.readouterr().out
    assert "3 of 3" in text and str(source) in text and "0.590" in text


def test_every_format_can_be_named():
    assert set(data._FORMATS) == {"auto", *formats.NAMES}


def test_errors_reach_the_caller(source, tmp_path):
    with pytest.raises(InputError, match=r"keys in this file are other, total"):
        run("convert", source, tmp_path / "a.lmdb")
    assert not list(tmp_path.glob("*.lmdb*"))
    with pytest.raises(InputError, match="is both source and result"):
        run("convert", source, source)
