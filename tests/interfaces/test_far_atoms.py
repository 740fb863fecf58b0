"""An atom at any distance is alone, a simulation that throws one there says so."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111

from equitensor import Calculator
from equitensor.interfaces.md import MDSettings, simulate
from equitensor.interfaces.stability import UnstableError


def slab():
    return fcc111("Si", (2, 2, 2), a=3.3, vacuum=8.0, periodic=False)


@pytest.mark.parametrize("build", [slab, lambda: Atoms("Si3", [[0, 0, 0], [2.3, 0, 0], [0, 2.3, 0]])])
@pytest.mark.parametrize("distance", [1e5, 1e6, 9e7])
def test_a_lost_atom_has_the_energy_of_a_free_one(morse, build, distance):
    rest = build()
    atoms = rest + Atoms("C", [[0, 0, distance]])
    for each in (rest, atoms):
        each.calc = Calculator(morse, device="cpu", dtype="float64")
    alone = Atoms("C", calculator=Calculator(morse, device="cpu", dtype="float64"))
    assert atoms.get_potential_energy() == pytest.approx(
        rest.get_potential_energy() + alone.get_potential_energy(), abs=1e-9
    )
    assert np.abs(atoms.get_forces()[-1]).max() == 0


@pytest.mark.parametrize(("distance", "message"), [(1e6, "has left all others|moves with"), (1e12, "has flown apart")])
def test_dynamics_that_throw_an_atom_away_say_so(morse, distance, message):
    atoms = slab()
    atoms.calc = Calculator(morse, device="cpu", dtype="float64")
    run = simulate(atoms, 5, MDSettings(timestep=1.0))
    next(run)
    velocities = np.zeros((len(atoms), 3))
    velocities[-1, 2] = distance
    atoms.set_velocities(velocities)
    with pytest.raises(UnstableError, match=message):
        list(run)
