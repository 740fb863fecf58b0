"""Files are whole, or as they were before."""

import errno
from pathlib import Path

import pytest

from equitensor.errors import WriteError
from equitensor.training.checkpoint import write_inputs
from equitensor.training.config import validate
from equitensor.whole_file import whole_file, write_whole


@pytest.fixture
def full_disk(monkeypatch):
    """Half of each text is written."""
    write = Path.write_text

    def half(self, text):
        write(self, text[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)


def test_a_file_that_could_not_be_written_is_as_it_was(tmp_path, full_disk):
    path = tmp_path / "a.json"
    path.write_bytes(b"before")
    with pytest.raises(WriteError, match=r"a\.json could not be written \(no space left on device\)"):
        write_whole(path, "after" * 10)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"] and path.read_bytes() == b"before"


def test_an_ending_is_kept_for_writers_that_go_by_it(tmp_path):
    with whole_file(tmp_path / "a.cif.gz", ".cif.gz") as partial:
        assert partial.name == "a.cif.gz.partial.cif.gz"
        partial.write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.cif.gz"]


def test_a_run_folder_holds_no_half_inputs(tmp_path, full_disk):
    config = validate({"data": {"train": "a.xyz"}}, "test")
    with pytest.raises(WriteError, match=r"config\.yaml could not be written"):
        write_inputs(tmp_path, config, {"train": [0]})
    assert not list(tmp_path.iterdir())
