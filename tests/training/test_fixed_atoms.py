"""Forces on atoms that are held in place are learned where a config asks for it, and never judged."""

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from rich.console import Console

from equitensor.training.setup import open_data


@pytest.fixture
def held(frames, tmp_path):
    """Frames with atoms 0 and 1 held in place, where the force on 0 is a true one and that on 1 was set to zero."""
    written = []
    for frame in frames:
        atoms, forces = frame.copy(), frame.get_forces()
        forces[1] = 0
        atoms.calc = SinglePointCalculator(atoms, energy=frame.get_potential_energy(), forces=forces)
        atoms.set_constraint(FixAtoms([0, 1]))
        written.append(atoms)
    ase.io.write(tmp_path / "held.xyz", written, format="extxyz")
    return str(tmp_path / "held.xyz")


@pytest.mark.parametrize(("asked", "learned"), [(False, {0, 1}), (True, {1})])
def test_what_counts_as_fixed_in_training_and_in_validation(config, held, asked, learned):
    data = open_data(config(data={"train": held, "fixed_forces": asked}), Console(quiet=True))
    fixed = {tuple(np.flatnonzero(graph.fixed)) for graph in data.train}
    assert fixed == {tuple(sorted(learned))}
    assert {tuple(np.flatnonzero(graph.fixed)) for graph in data.valid} == {(0, 1)}
    np.testing.assert_array_equal(data.train.snapshots[0].fixed[:3], [True, True, False])
