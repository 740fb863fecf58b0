"""Where a repulsion begins: how near to each other atoms come in training data."""

import numpy as np
import pytest
import torch
from ase.data import covalent_radii

from equitensor import models
from equitensor.graph import Structure
from equitensor.training.closest import begin_repulsion, closest

O_H = covalent_radii[8] + covalent_radii[1]  # 0.97


def pair(numbers, distance, height=None):
    """Two atoms above each other, in a cell of this height where one is given."""
    cell = np.zeros((3, 3)) if height is None else np.diag([9.0, 9.0, height])
    pos = np.array([[0.0, 0, 0], [0, 0, distance]])
    return Structure(z=np.array(numbers), pos=pos, cell=cell, pbc=np.full(3, height is not None))


def snapshots(*distances):
    return [pair([8, 1], d) for d in distances]


def begin(frames, a=0, b=1, elements=(1, 8)):
    model = closest(frames, np.arange(len(frames)), elements)
    assert model.equal(model.T)
    return float(model[a, b])


def test_the_shortest_distance_that_there_is():
    assert begin(snapshots(0.95, 0.75, 0.9)) == pytest.approx(0.75)


def test_without_examples_it_is_an_inner_part_of_the_radii_and_with_many_their_sum():
    assert begin(snapshots(4.5)) == pytest.approx(0.8 * O_H)
    assert begin(snapshots(2.0), 0, 0) == pytest.approx(0.8 * 2 * 0.31)
    few, many = begin(snapshots(1.1)), begin(snapshots(*[1.1] * 200))
    assert few == pytest.approx(O_H * 2.6 / 3)
    assert few < many < O_H


def test_pairs_that_many_structures_keep_apart_repel_each_other_before_they_are_bonded():
    few, more, many = (begin(snapshots(*[2.0] * count)) for count in (10, 500, 5000))
    assert O_H * 0.9 < few < O_H * 1.05 < more < many < 0.85 * 2.0
    assert many == pytest.approx(O_H + 5 / 6 * (1.7 - O_H), rel=1e-3)
    assert begin(snapshots(*[2.0] * 5000, 1.0)) == pytest.approx(O_H, rel=1e-3)  # one bond says that there are bonds


def test_a_pair_in_one_place_is_no_distance():
    assert begin(snapshots(0.01)) == pytest.approx(0.4 * O_H)


def test_between_known_elements_it_begins_where_it_did_or_where_new_data_come_nearer():
    model = models.build({"repulsion": True, "channels": 4}, [1, 8, 9], dict.fromkeys([1, 8, 9], 0.0))
    before = torch.tensor([[1.0, 0.9, 0.8], [0.9, 1.5, 0.7], [0.8, 0.7, 0.6]])
    model.repulsion.set_begins(before)
    begin_repulsion(model, snapshots(0.75, 0.01), np.arange(1), known=[1, 8])
    after = model.repulsion.begins
    assert after[0, 1] == after[1, 0] == pytest.approx(0.75)
    assert torch.equal(after[[0, 1], [0, 1]], before[[0, 1], [0, 1]])
    assert after[2, 2] == pytest.approx(0.8 * 2 * covalent_radii[9])  # fluorine is new
    begin_repulsion(model, snapshots(0.01), np.arange(1), known=[1, 8])
    assert model.repulsion.begins[0, 1] == pytest.approx(0.4 * O_H)


def test_images_count():
    assert begin([pair([8, 1], 2.2, height=3.0)]) == pytest.approx(0.8)


def test_structures_of_other_elements_are_searched_as_far_as_theirs_reach():
    frames, elements = [pair([55, 55], 3.0), pair([1, 8], 0.7)], (1, 8, 55)
    assert begin(frames, 2, 2, elements) == pytest.approx(3.0)
    assert begin(frames, 0, 1, elements) == pytest.approx(0.7)
