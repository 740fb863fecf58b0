"""Validation sets: whole trajectories, seeded, never isolated atoms."""

import numpy as np
import pytest

from equitensor.data import Memory, split_by_group, split_notes, usable
from equitensor.errors import InputError
from equitensor.graph import Structure


def snapshots(groups, energy=1.0):
    def one(group):
        return Structure(np.array([1, 1]), np.eye(3)[:2], np.zeros((3, 3)), np.zeros(3, bool), energy, group=group)

    return Memory([one(group) for group in groups])


def test_groups_are_never_parted():
    data = snapshots([f"run {i % 12}" for i in range(120)])
    split = split_by_group(data, 0.25, seed=3)
    assert not set(data.index.group[split.train]) & set(data.index.group[split.valid])
    assert len(split.valid) == 30
    assert sorted([*split.train, *split.valid]) == list(range(120))


def test_frames_without_a_group_are_split_one_by_one():
    data = snapshots([None] * 100)
    split = split_by_group(data, 0.1, seed=0)
    assert len(split.valid) == 10
    assert np.array_equal(split.valid, split_by_group(data, 0.1, seed=0).valid)
    assert not np.array_equal(split.valid, split_by_group(data, 0.1, seed=1).valid)


def test_each_part_gets_something():
    split = split_by_group(snapshots(["a"] * 90 + ["b"] * 10), 0.01, seed=0)
    assert split.valid.tolist() == list(range(90, 100))
    assert len(split_by_group(snapshots([None] * 5), 0.0, seed=0).valid) == 0


def test_the_only_group_with_an_element_is_trained_on():
    def one(group):
        z = np.array([1, 8 if group == "water" else 6])
        return Structure(z, np.eye(3)[:2], np.zeros((3, 3)), np.zeros(3, bool), 1.0, group=group)

    data = Memory([one(group) for group in ("a", "b", "water", "c")])
    for seed in range(8):
        split = split_by_group(data, 0.5, seed)
        assert len(split.valid) == 2 and 2 in split.train


def test_one_trajectory_cannot_be_split():
    with pytest.raises(InputError, match="one trajectory"):
        split_by_group(snapshots(["a"] * 10), 0.1, seed=0)
    with pytest.raises(InputError, match=r"valid_fraction is 1\.5"):
        split_by_group(snapshots(["a"] * 10), 1.5, seed=0)


def test_unlabelled_structures_and_isolated_atoms_are_not_learnt_from():
    atom = Structure(np.array([1]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool), -13.6)
    data = Memory([*snapshots([None] * 3), atom, *snapshots([None] * 2, energy=None)])
    assert usable(data).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="no structure with a label"):
        usable(Memory([atom]))


def frames(count, seed=0, file="md.xyz", z=(1, 1)):
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(count, len(z), 3))
    bare = [Structure(np.array(z), pos, np.zeros((3, 3)), np.zeros(3, bool), 1.0) for pos in places]
    return Memory([s.replace(source=f"{file}, frame {i}") for i, s in enumerate(bare)])


def test_identical_frames_of_two_parts_are_counted():
    train, valid = frames(20), frames(6, seed=1, file="b.xyz")
    assert split_notes(train, np.arange(20), valid, np.arange(6)) == []
    rounded = [train[i].replace(pos=train[i].pos + 1e-9, energy=2.0, source=f"b.xyz, frame {i}") for i in (4, 7)]
    (note,) = split_notes(train, np.arange(20), Memory([*valid, *rounded]), np.arange(8), "test")
    assert note.startswith("2 of 8 test frames are in the training data too")
    assert "md.xyz, frame 4 and b.xyz, frame 4" in note
    assert split_notes(train, np.arange(4), Memory([*valid, *rounded]), np.arange(8)) == []
    moved = Memory([s.replace(pos=s.pos + 1e-3) for s in rounded])
    assert split_notes(train, np.arange(20), moved, np.arange(2)) == []


def test_a_split_by_frame_of_a_trajectory_is_said():
    data = frames(40)
    split = split_by_group(data, 0.1, seed=0)
    (note,) = split_notes(data, split.train, data, split.valid)
    assert "trajectories" in note and "data.group_key: file" in note
    stored = Memory([s.replace(source=f"a.lmdb, record {i} ({s.source})") for i, s in enumerate(data)])
    assert split_notes(stored, split.train, stored, split.valid) == [note]
    assert split_notes(data, np.arange(30), data, np.arange(30, 40)) == []
    unrelated = Memory([frames(1, seed=i, z=(1, 1 + i % 7))[0] for i in range(40)])
    assert split_notes(unrelated, split.train, unrelated, split.valid) == []
    files = Memory([frames(1, seed=i, file=f"{i}.xyz")[0] for i in range(40)])
    assert split_notes(files, split.train, files, split.valid) == []
