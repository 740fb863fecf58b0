"""What data sets hold, and whether their units agree."""

import numpy as np
import pytest

from equitensor.data import Memory, StoreWriter, convert, coverage, coverage_table, open_snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure


def springs(energy_factor=1.0, forces_factor=1.0, n=40, z=(8, 1, 1)):
    """Frames of three atoms on springs about their places, turned at random."""
    rng = np.random.default_rng(0)
    rest = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1.2, 0]])
    pairs = [(0, 1), (0, 2), (1, 2)]
    frames = []
    for _ in range(n):
        pos, energy, forces = rest + rng.normal(size=(3, 3)) * 0.05, -100.0, np.zeros((3, 3))
        for i, j in pairs:
            vector, length = pos[j] - pos[i], np.linalg.norm(rest[j] - rest[i])
            stretch = np.linalg.norm(vector) - length
            energy += 15 * stretch**2
            pull = 30 * stretch * vector / np.linalg.norm(vector)
            forces[i] += pull
            forces[j] -= pull
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        frames.append(
            Structure(
                np.array(z),
                pos @ turn,
                np.zeros((3, 3)),
                np.zeros(3, bool),
                energy * energy_factor,
                forces @ turn * forces_factor,
            )
        )
    return Memory(frames, name="springs")


def test_agreeing_units_pass_and_others_are_told():
    fluorine = (8, 9, 9)  # of no known force constant: only the agreement of energies and forces is seen
    assert coverage(springs(z=fluorine)).warnings == []
    assert coverage(springs(27.2, 27.2, z=fluorine)).warnings == []
    for factors in ((23.06, 1.0), (1 / 27.21, 1.0), (1.0, 23.06), (1.0, 1 / 51.4)):
        (warning,) = coverage(springs(*factors, z=fluorine)).warnings
        assert "springs: energies and forces disagree" in warning


def test_units_that_agree_and_yet_are_wrong_are_told_by_the_bonds_of_hydrogen():
    assert coverage(springs()).warnings == []
    (warning,) = coverage(springs(27.2, 27.2)).warnings
    assert "springs: forces look wrong" in warning


def test_counts_ranges_and_table():
    result = coverage(springs())
    assert (result.structures, result.atoms) == (40, 120)
    assert result.labels == {"energy": 40, "forces": 40, "stress": 0}
    assert result.elements == {1: 40, 8: 40} and result.atoms_range == (3, 3)
    assert result.ranges == {} and result.forces_rms < result.forces_range[1]
    part = coverage(springs(), indices=[0, 5], name="valid")
    assert (part.structures, part.name) == (2, "valid")
    assert coverage_table([result, part]).row_count > 5


@pytest.mark.parametrize(
    ("file", "count", "labels"),
    [
        ("acac/train_300K.xyz", 500, (500, 500, 0)),
        ("acac/test_dihedral.xyz", 45, (45, 0, 0)),
        ("rmd17/malonaldehyde_train_01.xyz", 1000, (1000, 1000, 0)),
        ("periodic/mptrj-random-1k.xyz", 1000, (1000, 1000, 1000)),
    ],
)
def test_real_files_pass_through_a_store_unchanged(shared_data, tmp_path, file, count, labels):
    snapshots = open_snapshots(shared_data / file)
    result = coverage(snapshots)
    assert (result.structures, tuple(result.labels.values())) == (count, labels)
    assert result.warnings == []
    with StoreWriter(tmp_path / "a.lmdb") as writer:
        for structure in snapshots:
            writer.add(structure)
        writer.finish()
    store = open_snapshots(tmp_path / "a.lmdb")
    for i in (0, count // 2, count - 1):
        assert np.array_equal(store[i].pos, snapshots[i].pos) and store[i].energy == snapshots[i].energy
        assert (store[i].forces is None) == (labels[1] == 0)
    stored = coverage(store).as_dict()
    assert {**stored, "name": ""} == {**result.as_dict(), "name": ""}


def test_hartree_energies_beside_forces_in_ev_are_told(shared_data):
    wrong = open_snapshots(shared_data / "acac" / "train_300K.xyz", energy_unit="Hartree", forces_unit="eV/Angstrom")
    below, disagree = coverage(wrong).warnings
    assert "times the energy of the atoms with all their electrons" in below and "energy_unit" in below
    assert "energies and forces disagree" in disagree


def test_folders_lists_and_options(tmp_path, caplog):
    frame = "1\nenergy=1 pbc='F F F'\nH 0 0 0\n"
    (tmp_path / "b.xyz").write_text(frame * 2)
    (tmp_path / "a.xyz").write_text(frame)
    (tmp_path / "notes.txt").write_text("hello")
    assert [s.source.split("/")[-1] for s in open_snapshots(tmp_path)] == [
        *("a.xyz, frame 0", "b.xyz, frame 0", "b.xyz, frame 1")
    ]
    assert "notes.txt" in caplog.text
    store = convert([tmp_path / "a.xyz", tmp_path / "b.xyz"], tmp_path / "c.lmdb")
    with pytest.raises(InputError, match=r"holds stores \(c\.lmdb\) beside other data"):
        open_snapshots(tmp_path)
    joined = open_snapshots([tmp_path / "c.lmdb", tmp_path / "a.xyz"])
    assert len(store) == 3 and len(joined) == 4 and joined[3].source.endswith("a.xyz, frame 0")
    with pytest.raises(InputError, match="has no option 'stages'"):
        open_snapshots(tmp_path / "a.xyz", stages=["x"])
    with pytest.raises(InputError, match="keys and units settled"):
        open_snapshots(tmp_path / "c.lmdb", energy_key="energy")
    with pytest.raises(InputError, match="no such file"):
        open_snapshots(tmp_path / "d.xyz")
    with pytest.raises(InputError, match="known format"):
        open_snapshots(tmp_path / "notes.txt")
