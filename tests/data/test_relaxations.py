"""How relaxations begin and end, in trajectories and in OC20's records."""

import numpy as np
import pytest

from equitensor.data.relaxations import Relaxations
from equitensor.errors import InputError

FRAME = "2\nProperties=species:S:1:pos:R:3 energy={} run={} pbc='F F F'\nH 0 0 0\nH 0 0 {}\n"


def write(path, *frames):
    path.write_text("".join(FRAME.format(*frame) for frame in frames))
    return path


def test_a_trajectory_begins_with_its_first_frame_and_ends_with_its_last(tmp_path):
    frames = [
        (-1.0, "a", 0.9),
        (-5.0, "b", 1.0),
        (-1.5, "a", 0.8),
        (-1.49, "a", 0.75),
        (-7.0, "c", 1.0),
        (-6.0, "b", 0.9),
    ]
    data = Relaxations(write(tmp_path / "a.xyz", *frames), group_key="run")
    assert data.indices.tolist() == [0, 1]  # c has one frame
    (begin, label), (_, other) = data.pairs(data.indices)
    assert begin.pos[1, 2] == label.pos[1, 2] == 0.9 and begin.energy is None and label.energy == -1.49
    assert other.energy == -6.0 and other.forces is None


def test_frames_in_another_order_are_refused(tmp_path):
    data = Relaxations(write(tmp_path / "a.xyz", (-6.0, "b", 0.9), (-5.0, "b", 1.0)), group_key="run")
    with pytest.raises(InputError, match=r"frame 1: the last frame of its group b lies 1 eV above .*frame 0"):
        list(data.pairs(data.indices))


def test_frames_that_say_nothing_of_an_end_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"nothing says how relaxations ended: that takes IS2RE files"):
        Relaxations(write(tmp_path / "a.xyz", (-6.0, "b", 0.9)), group_key="run")


def test_records_of_is2re_hold_both(shared_data):
    data = Relaxations(shared_data / "oc20" / "original" / "is2re_val_20")
    begin, label = next(data.pairs(data.indices))
    assert len(data.indices) == 20 and begin.group == label.group and begin.energy is begin.forces is None
    assert label.energy == pytest.approx(-0.40190949) and np.array_equal(begin.pos, label.pos)
