"""The ending decides the format, and a file that was cut off gives its whole frames."""

import bz2
import gzip
import logging
import lzma

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory

from equitensor.data import open_snapshots
from equitensor.data.frames import drop_cut_frame, format_of, read_frame, split_index, whole_frames
from equitensor.errors import InputError


def frames(count=4):
    made = []
    for number in range(count):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=number)
        forces = np.random.default_rng(number).standard_normal((3, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=-14.0 - number, forces=forces - forces.mean(axis=0))
        made.append(atoms)
    return made


@pytest.fixture(params=["run.traj", "run.extxyz", "POSCAR-run.xyz"])
def cut(request, tmp_path):
    """A trajectory of four frames, the last of which misses its end."""
    path = tmp_path / request.param
    ase.io.write(path, frames(), format=format_of(path))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - (300 if path.suffix == ".traj" else 10)])
    return path


def test_what_is_whole_of_a_cut_file_is_read(cut, caplog):
    assert whole_frames(cut) == 3
    assert read_frame(cut).get_potential_energy() == -16.0
    assert "ends in the middle of a frame" in caplog.text and caplog.text.count("\n") == 1
    assert read_frame(cut, 0).get_potential_energy() == -14.0
    snapshots = open_snapshots(cut)
    assert [s.energy for s in snapshots] == [-14.0, -15.0, -16.0]


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def packed(tmp_path, suffix, text_less=0, packed_less=0):
    """Four frames, the text or what it is compressed to less so many bytes at the end."""
    ase.io.write(tmp_path / "run.xyz", frames(), format="extxyz")
    text = (tmp_path / "run.xyz").read_bytes()
    path = tmp_path / f"cut.xyz{suffix}"
    data = PACKERS[suffix](text[: len(text) - text_less])
    path.write_bytes(data[: len(data) - packed_less])
    return path


@pytest.mark.parametrize("suffix, text_less, packed_less", [*((s, 10, 0) for s in PACKERS), (".gz", 0, 30)])
def test_what_is_whole_of_a_cut_compressed_file_is_read(tmp_path, caplog, suffix, text_less, packed_less):
    path = packed(tmp_path, suffix, text_less, packed_less)
    assert whole_frames(path) == 3
    assert [s.energy for s in open_snapshots(path)] == [-14.0, -15.0, -16.0]
    assert "ends in the middle of a frame" in caplog.text and "its 3 whole frames" in caplog.text
    assert caplog.text.count("\n") == 1
    assert read_frame(path).get_potential_energy() == -16.0
    assert read_frame(path, 0).get_potential_energy() == -14.0


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_compressed_file_that_lacks_its_end_alone_is_said(tmp_path, caplog, suffix):
    path = packed(tmp_path, suffix, packed_less=4 if suffix == ".gz" else 0)
    energies = [s.energy for s in open_snapshots(path)]
    assert energies == [-14.0, -15.0, -16.0, -17.0]
    assert ("its 4 whole frames" in caplog.text) == (suffix == ".gz")
    assert read_frame(path).get_potential_energy() == -17.0


def test_compressed_files_without_a_whole_frame_or_damaged_are_refused(tmp_path):
    for suffix in PACKERS:
        path = packed(tmp_path, suffix)
        data = path.read_bytes()
        for content in (data[:60], data[:40] + bytes(20) + data[60:], b"2\n\nH 0 0 0\nH 0 0 1\n"):
            path.write_bytes(content)
            with pytest.raises(InputError, match=rf"cut\.xyz\{suffix}, frame 0: ASE cannot read it"):
                open_snapshots(path)
            with pytest.raises(InputError, match="ASE finds no structure"):
                read_frame(path)


def test_other_compressed_files_that_are_cut_say_what_to_do(tmp_path):
    ase.io.write(tmp_path / "a.cif", Atoms("C", cell=[3, 3, 3], pbc=True))
    (tmp_path / "a.cif.gz").write_bytes(gzip.compress((tmp_path / "a.cif").read_bytes())[:-20])
    with pytest.raises(InputError, match=r"It is cut off; zcat a\.cif\.gz > a\.cif gives what is left of it"):
        open_snapshots(tmp_path / "a.cif.gz")


def test_a_cut_file_goes_on_after_its_whole_frames(cut, caplog):
    drop_cut_frame(cut)
    assert whole_frames(cut) is None
    if cut.suffix == ".traj":
        with Trajectory(cut, "a") as trajectory:
            trajectory.write(frames(5)[4])
    else:
        ase.io.write(cut, frames(5)[4], append=True, format="extxyz")
    caplog.clear()
    energies = [a.get_potential_energy() for a in ase.io.read(cut, index=":", format=format_of(cut))]
    assert energies == [-14.0, -15.0, -16.0, -18.0]
    assert read_frame(cut).get_potential_energy() == -18.0
    assert not caplog.records


@pytest.mark.parametrize("name", ["run.traj", "run.extxyz"])
def test_whole_files_are_left_alone(tmp_path, name, caplog):
    path = tmp_path / name
    ase.io.write(path, frames())
    before = path.read_bytes()
    assert whole_frames(path) is None
    drop_cut_frame(path)
    assert path.read_bytes() == before
    assert len(open_snapshots(path)) == 4
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ASE leaves the file open
@pytest.mark.parametrize("keep", [0, 2, 30, 60])
def test_a_file_without_a_whole_frame_is_no_structure(tmp_path, keep):
    for name in ("run.traj", "run.extxyz"):
        path = tmp_path / name
        ase.io.write(path, frames(1))
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(InputError, match="ASE finds no structure"):
            read_frame(path)


@pytest.mark.parametrize(
    "lines", ["H 0 0 0.74\nH 0 0 0", "H 0.0 0.0 0.740000\nH 0.0 0.0 0.0", "H 0.00 0.74 0\nH 0 0 0"]
)
def test_a_file_by_hand_needs_no_newline_at_its_end(tmp_path, lines):
    path = tmp_path / "h2.xyz"
    path.write_text("2\nenergy=-1.0 Properties=species:S:1:pos:R:3\n" + lines)
    assert whole_frames(path) is None
    assert read_frame(path).get_distance(0, 1) == pytest.approx(0.74)
    assert len(open_snapshots(path)) == 1


def test_a_broken_frame_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / "run.extxyz"
    ase.io.write(path, frames())
    lines = path.read_text().splitlines(keepends=True)
    lines[7] = "H 0.0 zero 0.0\n"
    path.write_text("".join(lines))
    with pytest.raises(InputError, match="frame 1: ASE cannot read it"):
        open_snapshots(path)


def test_frames_behind_one_that_was_cut_are_an_error_that_says_where(tmp_path):
    path = tmp_path / "run.extxyz"
    ase.io.write(path, frames())
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines + lines[:-1] + lines))
    with pytest.raises(InputError, match=f"frame {2 * len(frames())}: ASE cannot read it"):
        open_snapshots(path)


def test_the_ending_decides_before_the_name(tmp_path):
    crystal = Atoms("C", cell=[3, 3, 3], pbc=True)
    for name in ("POSCAR-md.traj", "CONTCAR-relaxed.extxyz", "OUTCAR.xyz", "my.vasp", "POSCAR", "CONTCAR.2", "x.cif"):
        path = tmp_path / name
        ase.io.write(path, crystal, format=format_of(path) or "vasp")
        assert read_frame(path).cell.lengths() == pytest.approx([3, 3, 3]), name
    assert format_of("a/POSCAR") is format_of("OUTCAR.gz") is format_of("dft.out") is None
    assert format_of("liquid.md.xyz") == format_of("a.XYZ.gz") == "extxyz"


def test_an_at_sign_in_a_name_is_part_of_it(tmp_path):
    path = tmp_path / "run@300K.xyz"
    ase.io.write(path, frames(), format="extxyz")
    assert split_index(path) == (path, None)
    assert split_index(f"{path}@1") == (path, 1)
    assert read_frame(*split_index(f"{path}@1")).get_potential_energy() == -15.0
    assert len(open_snapshots(path)) == 4
    with pytest.raises(InputError, match=r"run@400K\.xyz: no such file"):
        split_index(tmp_path / "run@400K.xyz")
