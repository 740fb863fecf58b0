"""datasets/organics/label_dft.py: which frames it labels, and that its shards are read in the right units."""

import importlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import molecule
from ase.units import Bohr, Hartree

from equitensor.data import Memory, open_snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure

RECIPE = Path(__file__).resolve().parents[2] / "datasets" / "organics"
NAMES = ["CH4", "C2H6", "CH3OH", "H2O", "C6H6"]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPE))
    return importlib.import_module("label_dft")


@pytest.fixture
def snapshots():
    """Five frames of each molecule, of which benzene has six heavy atoms."""
    rng, structures = np.random.default_rng(0), []
    for name in NAMES:
        atoms = molecule(name)
        for _ in range(5):
            atoms.rattle(0.05, rng=rng)
            structures.append(replace(Structure.from_ase(atoms), group=f"cid train 0-{name}"))
    return Memory(structures, "the molecules")


def test_frames_are_of_small_molecules_as_many_as_asked_for(script, snapshots):
    rows = script.chosen(snapshots, molecules=4, frames=2, heavy=2, seed=3)
    assert [len(row) for row in rows] == [2] * 4
    assert {row[0].group for row in rows} == {f"cid train 0-{name}" for name in NAMES[:-1]}
    for first, second in rows:
        assert first.group == second.group and not np.array_equal(first.pos, second.pos)
    again = script.chosen(snapshots, molecules=4, frames=1, heavy=2, seed=3)
    assert all(np.array_equal(one.pos, row[0].pos) for (one,), row in zip(again, rows, strict=True))
    with pytest.raises(InputError, match=r"the molecules: 4 molecules of at most 2 heavy atoms, not 5: choose fewer"):
        script.chosen(snapshots, molecules=5, frames=1, heavy=2, seed=3)


def test_shards_are_read_as_they_were_labelled(script, snapshots, monkeypatch, tmp_path):
    """Energies and gradients in atomic units, a frame without a label left out and counted."""
    silent = snapshots[7]

    def labelled(structure):
        if structure is silent:
            return None
        return script.Frame(structure.pos / Bohr, -float(len(structure)), -structure.pos * Bohr / Hartree)

    monkeypatch.setattr(script, "labelled", labelled)
    line = script.make(script.Task([[snapshots[0], snapshots[1]], [snapshots[6], silent]], tmp_path / "0000.lmdb"))
    assert "3 frames, 1 frames whose orbitals do not converge" in line
    read = open_snapshots(tmp_path, stages=["b3lyp"])
    assert [frame.group for frame in read] == ["cid train 0-C2H6", "cid train 0-CH4", "cid train 0-CH4"]
    for frame, before in zip(read, (snapshots[6], snapshots[0], snapshots[1]), strict=True):
        assert np.array_equal(frame.z, before.z)
        assert frame.energy == pytest.approx(-len(before) * Hartree)
        np.testing.assert_allclose(frame.pos, before.pos, atol=1e-6)
        np.testing.assert_allclose(frame.forces, before.pos, atol=1e-6)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (replace(Structure.from_ase(molecule("CH4")), group=None), "which structures are of one molecule is not known"),
        (replace(Structure.from_ase(molecule("CH3")), group="cid CH3"), "an odd number of electrons"),
        (replace(Structure.from_ase(molecule("H2O")), group="cid test_dimers 0-1a"), "other frames than its halves"),
    ],
    ids=["no groups", "a radical", "half of a pair"],
)
def test_what_cannot_be_labelled_is_refused(script, structure, message):
    with pytest.raises(InputError, match=message):
        script.chosen(Memory([structure], "one"), molecules=1, frames=1, heavy=5, seed=0)


def test_a_folder_holds_one_choice_of_molecules(script, snapshots, tmp_path):
    shards = importlib.import_module("shards")
    options = SimpleNamespace(out=tmp_path, sources=["train.lmdb"], molecules=40, frames=1, heavy=10, seed=0)
    assert not shards.begun(tmp_path, script.choice_of(options, snapshots))
    shards.begin(tmp_path, script.choice_of(options, snapshots))
    assert shards.begun(tmp_path, script.choice_of(options, snapshots))
    options.seed = 1
    with pytest.raises(SystemExit, match=r"was begun with .*'seed': 0, .*, this is .*'seed': 1, .*: take another"):
        shards.begun(tmp_path, script.choice_of(options, snapshots))
    options.seed = 0
    with pytest.raises(SystemExit, match=r"'structures': 25}, this is .*'structures': 24}: take another folder"):
        shards.begun(tmp_path, script.choice_of(options, Memory(list(snapshots)[1:], "fewer")))


def test_energies_are_those_of_pubchemqcr(script, shared_data):
    """To what density fitting and the grid change."""
    pytest.importorskip("pyscf")
    frame = next(iter(open_snapshots(shared_data / "pubchemqcr" / "Data06.lmdb")))
    label = script.labelled(frame)
    assert label.energy * Hartree == pytest.approx(frame.energy, abs=1e-3)
    np.testing.assert_allclose(-label.gradient * Hartree / Bohr, frame.forces, atol=5e-3)
