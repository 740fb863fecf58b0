"""Raw OC20 downloads: frames and the lines about them walk in step."""

import lzma

import numpy as np
import pytest

from equitensor.data.formats import oc20_raw
from equitensor.errors import InputError

FRAME = """2
Lattice="4 0 0 0 4 0 0 0 9" energy=-3.5 Properties=species:S:1:pos:R:3:move_mask:L:1:tags:I:1:forces:R:3
Cu 0 0 0 F 1 0.5 0 0
H 0 0 1.5 T 2 0 0 -0.5
"""


@pytest.fixture
def write(tmp_path):
    def write(frames, lines, number=0):
        path = tmp_path / f"{number}.extxyz.xz"
        path.write_bytes(lzma.compress(frames.encode()))
        (tmp_path / f"{number}.txt.xz").write_bytes(lzma.compress(lines.encode()))
        return path

    return write


def test_references_systems_and_fixed_atoms(write):
    path = write(2 * FRAME, "random5,frame3,-4.0\nrandom6,frame0,-5.0\n")
    assert oc20_raw.recognises(path) and oc20_raw.recognises(path.parent)
    assert [(s.group, s.energy) for s in oc20_raw.read(path)] == [("sid 5", 0.5), ("sid 6", 1.5)]
    first = next(oc20_raw.read(path.parent, total=True))
    assert first.energy == -3.5 and first.source == f"{path}, frame 0"
    assert first.fixed.tolist() == [True, False] and first.tags.tolist() == [1, 2] and first.pbc.all()
    np.testing.assert_array_equal(first.forces, [[0.5, 0, 0], [0, 0, -0.5]])


def test_a_test_split_has_no_energies(write):
    bare = (
        FRAME.replace("energy=-3.5 ", "")
        .replace(":forces:R:3", "")
        .replace(" 0.5 0 0\n", "\n")
        .replace(" 0 0 -0.5", "")
    )
    (first,) = oc20_raw.read(write(bare, "random5,frame3\n"))
    assert first.group == "sid 5" and first.energy is first.forces is None
    path = write(FRAME, "random5,frame3\n", number=1)
    with pytest.raises(InputError, match=r"1\.txt\.xz, line 1: no reference energy"):
        list(oc20_raw.read(path))
    assert [s.energy for s in oc20_raw.read(path, total=True)] == [-3.5]


@pytest.mark.parametrize(
    ("frames", "lines", "complaint"),
    [
        (FRAME, "random5,frame3,-4\nrandom6,frame0,-5\n", "more lines"),
        (2 * FRAME, "random5,frame3,-4\n", "line 2"),
        (FRAME + FRAME[: FRAME.index("H 0")], "random5,frame3,-4\nrandom6,frame0,-5\n", "frame 1"),
        (FRAME + "what\n", "random5,frame3,-4\n", "not a whole file"),
    ],
)
def test_frames_and_lines_must_match(write, frames, lines, complaint):
    with pytest.raises(InputError, match=complaint):
        list(oc20_raw.read(write(frames, lines)))


def test_the_text_file_must_be_there(write):
    path = write(FRAME, "random5,frame3,-4\n")
    (path.parent / "0.txt.xz").unlink()
    assert not oc20_raw.recognises(path)
    with pytest.raises(InputError, match=r"0\.txt\.xz"):
        list(oc20_raw.read(path))
