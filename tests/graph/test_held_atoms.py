"""Which atoms ASE's constraints hold in place: those that keep no direction."""

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian, FixedLine, FixedPlane, FixScaled

from equitensor.graph import Structure
from equitensor.graph.constraints import held_atoms, held_space

SKEW = [[3, 0, 0], [1, 3, 0], [0.5, 0.4, 4]]


def test_an_atom_is_fixed_when_all_its_directions_are_held():
    atoms = Atoms("H7", np.arange(21.0).reshape(7, 3), cell=SKEW, pbc=True)
    atoms.set_constraint(
        [
            FixAtoms([0]),
            FixScaled([1], (True, True, True)),
            FixScaled([2], (False, True, True)),
            FixCartesian([3], (True, True, True)),
            FixedLine([4], (1, 2, 3)),
            FixedPlane([4], (1, 2, 3)),
            FixBondLengths([(5, 6)]),
        ]
    )
    assert held_atoms(atoms).tolist() == Structure.from_ase(atoms).fixed.tolist() == [1, 1, 0, 1, 1, 0, 0]
    count, frame = held_space(atoms)
    assert count.tolist() == [3, 3, 2, 3, 3, 0, 0]
    unit_a = np.array(SKEW[0]) / np.linalg.norm(SKEW[0])
    np.testing.assert_allclose(frame[2, 1:] @ unit_a, 0, atol=1e-12)


def test_nothing_held_is_no_mask():
    atoms = Atoms("H2", np.eye(3)[:2], constraint=FixCartesian([0], (True, False, True)))
    assert Structure.from_ase(atoms).fixed is None
    assert not held_atoms(Atoms()).any()
