"""A package that is installed brings a format of its own."""

import sys

import pytest

from equitensor.cli.main import build_parser
from equitensor.data import formats, open_snapshots
from equitensor.errors import InputError
from equitensor.training.config import validate

MODULE = """
import numpy as np
from equitensor.graph import Structure

def recognises(path):
    return path.suffix == ".dimers"

def read(path, depth: float = 1.0):
    for line in path.read_text().split():
        pos = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, float(line)]])
        yield Structure(z=np.array([1, 1]), pos=pos, cell=np.zeros((3, 3)), pbc=np.zeros(3, bool), energy=-depth)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package(entries, module) -> a folder on sys.path with a distribution `dimers` of these entry points."""

    def make(entries="dimers = dimer_reader", module=MODULE):
        folder = tmp_path / "site"
        (folder / "dimers-1.0.dist-info").mkdir(parents=True)
        (folder / "dimers-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: dimers\nVersion: 1.0\n")
        (folder / "dimers-1.0.dist-info" / "entry_points.txt").write_text(f"[equitensor.formats]\n{entries}\n")
        (folder / "dimer_reader.py").write_text(module)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    yield make
    sys.modules.pop("dimer_reader", None)


def test_a_format_of_another_package(package, tmp_path):
    path = tmp_path / "a.dimers"
    path.write_text("0.7 0.8 0.9\n")
    with pytest.raises(InputError, match="no known format"):
        open_snapshots(path)
    package()
    assert formats.names()[-2:] == ("dimers", "ase")
    assert [s.energy for s in open_snapshots(path)] == [-1, -1, -1]
    assert open_snapshots(tmp_path, depth=4.5)[2].energy == -4.5
    args = build_parser().parse_args(["data", "info", str(path), "--format", "dimers", "--depth", "4.5"])
    assert args.format == "dimers" and args.depth == 4.5
    config = validate({"data": {"train": {"path": str(path), "depth": 4.5}}}, "a config")
    assert config.data.train.depth == 4.5
    with pytest.raises(InputError, match=r"a\.dimers: depth is 'x': it should be a valid number"):
        open_snapshots(path, depth="x")


@pytest.mark.parametrize(
    ("entries", "module", "message"),
    [
        ("dimers = dimer_reader", "import a_module_that_is_not_there", "No module named 'a_module_that_is_not_there'"),
        ("dimers = dimer_reader", "def read(path):\n    pass\n", "it has no functions recognises and read"),
        ("npz = dimer_reader", MODULE, "there is one of this name"),
    ],
)
def test_one_that_cannot_be_used_is_left_out_and_named(package, caplog, entries, module, message):
    before = formats.names()
    package(entries, module)
    assert formats.names() == before
    assert message in caplog.text and "dimer_reader" in caplog.text
