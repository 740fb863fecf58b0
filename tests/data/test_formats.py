"""A package that is installed brings a format of its own."""

import sys

import pytest

from equitensor.cli.main import build_parser, main
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


def distribution(folder, name, entries):
    """What an installed package leaves in a folder on sys.path, beside its modules."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[equitensor.formats]\n{entries}\n")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package(entries, module) -> a folder on sys.path with a distribution `dimers` of these entry points."""

    def make(entries="dimers = dimer_reader", module=MODULE):
        folder = tmp_path / "site"
        distribution(folder, "dimers", entries)
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
        ("dimers = dimer_reader", "def read(path):\n    pass\n", "it has no function recognises"),
        ("npz = dimer_reader", MODULE, "there is one of this name"),
    ],
)
def test_one_that_cannot_be_used_is_left_out_and_named(package, caplog, entries, module, message):
    before = formats.names()
    package(entries, module)
    assert formats.names() == before
    assert message in caplog.text and "dimer_reader" in caplog.text and "dimers 1.0" in caplog.text


def test_one_that_cannot_be_used_is_an_error_where_it_is_asked_for(package, tmp_path):
    package(module="import a_module_that_is_not_there")
    with pytest.raises(InputError, match=r"'dimers' of dimers 1\.0 cannot be used: dimer_reader: ModuleNotFoundError"):
        open_snapshots(tmp_path, format="dimers")
    assert main(["data", "info", str(tmp_path), "--format", "dimers"]) == 2


def test_a_name_that_two_packages_bring_is_of_neither(package, tmp_path, monkeypatch):
    package()
    distribution(tmp_path / "other", "trimers", "dimers = trimer_reader")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    assert "dimers" not in formats.names()
    with pytest.raises(
        InputError, match=r"by dimers 1\.0 \(dimer_reader\) and trimers 1\.0 \(trimer_reader\): uninstall"
    ):
        formats.get("dimers")


def test_nothing_is_imported_before_it_is_asked_for(package):
    package()
    assert "dimers" in formats.FORMATS and "dimer_reader" not in sys.modules
    assert formats.FORMATS.package("dimers") == "dimers 1.0" and formats.FORMATS.package("npz") is None
    assert formats.get("dimers") is sys.modules["dimer_reader"]
