import numpy as np
import pytest
from ase.constraints import FixAtoms

from equitensor.errors import InputError
from equitensor.interfaces import Calculator, relax


def test_a_molecule_relaxes(morse, cluster):
    cluster.calc = Calculator(morse, device="cpu", dtype="float64")
    before, history = cluster.get_potential_energy(), []
    result = relax(cluster, fmax=1e-3, on_step=lambda *state: history.append(state))
    assert result.converged
    assert result.energy < before
    assert result.fmax == np.linalg.norm(cluster.get_forces(), axis=1).max() < 1e-3
    assert result.smax is None
    assert [step for step, *_ in history] == list(range(result.steps + 1))


def test_a_cell_relaxes_and_fixed_atoms_stay(morse, silicon):
    silicon.calc = Calculator(morse, device="cpu", dtype="float64")
    result = relax(silicon, fmax=2e-3, cell=True)
    assert result.converged
    assert result.fmax < 2e-3
    assert result.smax * silicon.get_volume() / 8 < 2e-3
    silicon.rattle(0.1, seed=4)
    silicon.set_constraint(FixAtoms([0]))
    held = silicon.positions[0].copy()
    assert relax(silicon, fmax=2e-3).converged
    np.testing.assert_array_equal(silicon.positions[0], held)


def test_too_few_steps_are_not_called_converged(morse, cluster):
    cluster.calc = Calculator(morse, device="cpu", dtype="float64")
    result = relax(cluster, fmax=1e-4, steps=3)
    assert not result.converged
    assert result.steps == 3
    assert result.fmax > 1e-4


def test_cell_of_a_molecule(morse, cluster):
    cluster.calc = Calculator(morse, device="cpu", dtype="float64")
    with pytest.raises(InputError, match="no cell to relax"):
        relax(cluster, cell=True)
