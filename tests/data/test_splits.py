"""Validation sets: whole trajectories, seeded, never isolated atoms."""

import numpy as np
import pytest

from equitensor.data import Memory, split_by_group, usable
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
