"""Labels that cannot be right are named with their frame, for a data set alone as for the parts of a run."""

import numpy as np
import pytest

from equitensor.data import Memory, coverage
from equitensor.data.absurd_labels import LabelSample
from equitensor.graph import Structure


def frames(count=40, **changes):
    rng = np.random.default_rng(0)
    values = {"pos": np.array([[0.0, 0, 0], [1.8, 0, 0]]), "cell": np.zeros((3, 3)), "pbc": np.zeros(3, bool)}
    values |= {"z": np.array([9, 17]), "energy": -15000.0} | changes
    return [Structure(**values, forces=rng.normal(size=(2, 3)), source=f"a.xyz, frame {i}") for i in range(count)]


@pytest.mark.parametrize("absurd", [11358.0, -40.0])
def test_coverage_names_the_frame_the_size_and_what_to_do(absurd):
    spoilt = frames()
    assert not [w for w in coverage(Memory(spoilt, name="a.xyz")).warnings if "absurd" in w]
    spoilt[37].forces[1] = [0, absurd, 0]
    (warning,) = (w for w in coverage(Memory(spoilt, name="a.xyz")).warnings if "absurd" in w)
    assert f"absurd labels in a.xyz: a.xyz, frame 37: a force of {abs(absurd):.5g} eV/Angstrom" in warning
    assert "repair or remove these structures" in warning


def test_many_are_counted():
    spoilt = frames()
    for i in range(8):
        spoilt[i].forces[0] = 500.0
    (warning,) = (w for w in coverage(Memory(spoilt)).warnings if "absurd" in w)
    assert warning.count("a.xyz, frame") == 5 and "; and 3 more" in warning


def test_a_part_is_measured_by_the_training_data():
    """What is usual in a part of wrong labels alone is absurd beside others."""
    wrong = [s.replace(forces=1000 * s.forces, energy=-14000.0) for s in frames(4)]
    assert not [w for w in coverage(Memory(wrong)).warnings if "absurd" in w]
    usual = LabelSample(frames(), {9: -2700.0, 17: -12300.0})
    (warning,) = (w for w in coverage(Memory(wrong), name="valid", usual=usual).warnings if "absurd" in w)
    assert "absurd labels in valid: a.xyz, frame 0: energy 500 eV/atom beyond the E0s, 0 in the median" in warning


def test_energies_of_elements_without_an_e0_are_left_out():
    usual = LabelSample(frames(), {9: -2700.0, 17: -12300.0})
    other = frames(4, z=np.array([9, 118]))
    assert not list(usual.absurd(LabelSample(other, usual.e0s)))


@pytest.mark.parametrize(("distance", "named"), [(1.8, True), (1.05, False)])
def test_atoms_that_are_pressed_together_repel_each_other(distance, named):
    spoilt = [*frames(), frames(1, pos=np.array([[0.0, 0, 0], [distance, 0, 0]]))[0]]
    spoilt[-1].forces[:] = [[-80.0, 0, 0], [80.0, 0, 0]]
    assert bool(list(LabelSample(spoilt).absurd())) == named
    spoilt[-1].forces[0, 0] = 11358.0
    assert list(LabelSample(spoilt).absurd())
