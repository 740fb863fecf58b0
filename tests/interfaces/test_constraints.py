"""Dynamics within ASE's constraints, on potentials that are solved by hand: wells, and nothing at all."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator as AseCalculator
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixConstraint,
    FixedLine,
    FixedMode,
    FixedPlane,
    FixInternals,
    FixLinearTriatomic,
    FixScaled,
    FixSubsetCom,
    Hookean,
)

from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.interfaces import Calculator, relax
from equitensor.interfaces.constraints import degrees_of_freedom, exact_constraints, simplified
from equitensor.interfaces.md import MDSettings, simulate
from equitensor.interfaces.velocities import draw

HEXAGONAL = [[3.2, 0, 0], [-1.6, 2.7, 0], [0.4, 0.3, 5.1]]


class Uncounted(FixConstraint):
    """Changes nothing, and does not say so."""

    def adjust_forces(self, atoms, forces):
        pass


class Wells(AseCalculator):
    """E = sum 1/2 k (x - x0)^2, k in eV/Angstrom^2; with k = 0 atoms that do not feel each other."""

    implemented_properties = ("energy", "forces")

    def __init__(self, centres, k):
        super().__init__()
        self.centres, self.k = centres.copy(), k

    def calculate(self, atoms, properties, changes):
        super().calculate(atoms, properties, changes)
        away = atoms.positions - self.centres
        self.results = {"energy": 0.5 * self.k * (away**2).sum(), "forces": -self.k * away}


def in_wells(symbols, k=2.0, cell=None):
    atoms = Atoms(symbols, cell=cell, pbc=cell is not None)
    atoms.positions = 3.0 * np.random.default_rng(1).standard_normal((len(atoms), 3))
    atoms.calc = Wells(atoms.positions, k)
    return atoms


def numeric_rank(atoms):
    """Dimensions of the momenta that constraints let pass."""
    rows = []
    with exact_constraints(atoms):
        for unit in np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3):
            momenta = unit.copy()
            for constraint in atoms.constraints:
                constraint.adjust_momenta(atoms, momenta)
            rows.append(momenta.ravel())
    return np.linalg.matrix_rank(np.array(rows), tol=1e-8)


@pytest.mark.parametrize(
    "constraints, free",
    [
        ([FixAtoms([0, 1])], 12),
        ([FixCartesian([0, 2], (False, False, True))], 16),
        ([FixScaled([0, 3], (True, False, True))], 14),
        ([FixedPlane([1, 2], (1, 2, 3))], 16),
        ([FixedLine([1], (1, 2, 3)), FixAtoms([0])], 13),
        ([FixAtoms([0]), FixBondLengths([(1, 2), (2, 3)])], 13),
        ([FixCom()], 15),
        ([Hookean(0, (0.0, 0.0, 0.0), 5.0, 0.0)], 18),
    ],
)
def test_degrees_of_freedom_are_those_of_ase(constraints, free):
    atoms = in_wells("H2C2O2", cell=HEXAGONAL)
    atoms.set_constraint(constraints)
    assert degrees_of_freedom(atoms, "nvt") == degrees_of_freedom(atoms, "nve") == free
    assert atoms.get_number_of_degrees_of_freedom() == free == numeric_rank(atoms)
    draw(atoms, 400.0, np.random.default_rng(0))
    assert atoms.get_temperature() == pytest.approx(400.0)


def test_what_is_held_twice_counts_once_and_what_is_not_held_does_not_count():
    atoms = in_wells("H2C2", cell=HEXAGONAL)
    atoms.set_constraint(
        [FixAtoms([0, 1]), FixAtoms([1]), FixCartesian([1, 2], (True, False, False)), FixCartesian([3], (False,) * 3)]
    )
    assert degrees_of_freedom(atoms, "nve") == 5 == numeric_rank(atoms)
    atoms.set_constraint([FixedPlane([2], (1, 1, 0)), FixedPlane([2], (1, -1, 0)), FixedPlane([2], (0, 0, 1))])
    assert degrees_of_freedom(atoms, "nve") == 9 == numeric_rank(atoms)
    assert Structure.from_ase(atoms).fixed.tolist() == [False, False, True, False]


def test_bonds_leave_the_motion_as_a_whole():
    atoms = in_wells("CO2")
    atoms.set_constraint(FixBondLengths([(0, 1), (0, 2)]))
    assert [degrees_of_freedom(atoms, e) for e in ("nve", "nvt")] == [9 - 2 - 6, 9 - 2 - 3]
    draw(atoms, 300.0, np.random.default_rng(0))
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(atoms.get_angular_momentum(), 0, atol=1e-10)
    assert atoms.get_kinetic_energy() == pytest.approx(0.5 * units.kB * 300)


def test_the_drawn_energy_is_shared_equally():
    """No component is hotter than another, whatever the mass and the constraint."""
    atoms = in_wells("HPb" * 2000, cell=HEXAGONAL)
    atoms.set_constraint([FixScaled(np.arange(0, 4000, 4), (False, False, True)), FixAtoms(np.arange(2, 4000, 4))])
    draw(atoms, 300.0, np.random.default_rng(0))
    kinetic = (atoms.get_momenta() ** 2).sum(axis=1) / atoms.get_masses() / (units.kB * 300)
    assert kinetic[0::4].mean() == pytest.approx(2, rel=0.06)
    assert kinetic[1::4].mean() == pytest.approx(3, rel=0.06)
    assert not kinetic[2::4].any()
    normal = np.linalg.inv(np.array(HEXAGONAL))[:, 2]
    np.testing.assert_allclose(atoms.get_velocities()[0::4] @ normal, 0, atol=1e-15)


MIXED = [
    FixAtoms(np.arange(0, 400, 4)),
    FixScaled(np.arange(1, 400, 4), (False, False, True)),
    FixedLine(np.arange(2, 400, 8), (1, 2, 3)),
    FixCartesian(np.arange(3, 400, 8), (True, False, False)),
]


def held_coordinates(atoms):
    """Every coordinate that MIXED holds."""
    x = atoms.positions
    across = np.linalg.svd([[1.0, 2.0, 3.0]])[2][1:]
    scaled = x @ np.linalg.inv(atoms.cell.array)
    return np.concatenate([x[0::4].ravel(), scaled[1::4, 2], (x[2::8] @ across.T).ravel(), x[3::8, 0]])


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_held_coordinates_stay_and_the_others_share_the_energy_equally(ensemble):
    atoms = in_wells("HCFO" * 100, k=2.0, cell=HEXAGONAL)
    atoms.set_constraint(MIXED)
    before, free = held_coordinates(atoms), 1200 - 300 - 100 - 100 - 50
    draw(atoms, 600.0 if ensemble == "nve" else 10.0, np.random.default_rng(0), ensemble)
    settings = MDSettings(ensemble=ensemble, temperature=300.0, timestep=1.0, friction=100.0)
    samples, kinetic = [], np.zeros(400)
    for sample in simulate(atoms, 500, settings):
        samples.append(sample)
        if sample.step > 100:
            kinetic += (atoms.get_momenta() ** 2).sum(axis=1) / atoms.get_masses() / (400 * units.kB * 300)
            np.testing.assert_array_equal(sample.temperature, 2 * sample.kinetic / (free * units.kB))
    np.testing.assert_allclose(held_coordinates(atoms), before, atol=1e-12)
    assert np.mean([s.temperature for s in samples[100:]]) == pytest.approx(300, rel=0.04)
    assert [type(c) for c in atoms.constraints] == [type(c) for c in MIXED]
    if ensemble == "nve":
        assert np.ptp([s.total for s in samples]) < 0.005 * samples[0].kinetic
    else:
        assert np.mean([s.potential for s in samples[100:]]) == pytest.approx(free / 2 * units.kB * 300, rel=0.04)
        groups = [kinetic[1::4].mean(), kinetic[2::8].mean(), kinetic[3::8].mean(), kinetic[6::8].mean()]
        np.testing.assert_allclose(groups, [2, 1, 2, 3], rtol=0.1)


def test_rigid_molecules_keep_their_bonds_and_their_temperature():
    """Free rotors: 5/2 kT each, less the centre of mass that is held."""
    atoms = in_wells("HO" * 25, k=0.0)
    pairs = np.arange(50).reshape(25, 2)
    atoms.set_constraint(FixBondLengths(pairs))
    lengths = np.linalg.norm(atoms.positions[pairs[:, 0]] - atoms.positions[pairs[:, 1]], axis=1)
    draw(atoms, 30.0, np.random.default_rng(0), "nvt")
    settings = MDSettings(ensemble="nvt", temperature=300.0, timestep=1.0, friction=100.0)
    temperatures = [sample.temperature for sample in simulate(atoms, 350, settings)]
    after = np.linalg.norm(atoms.positions[pairs[:, 0]] - atoms.positions[pairs[:, 1]], axis=1)
    np.testing.assert_allclose(after, lengths, rtol=1e-10)
    assert np.mean(temperatures[50:]) == pytest.approx(300, rel=0.06)


@pytest.mark.parametrize("constraint", [FixCartesian([0], (False, False, True)), FixBondLengths([(0, 1)]), FixCom()])
def test_npt_refuses_every_constraint(morse, silicon, constraint):
    silicon.calc = Calculator(morse, device="cpu", dtype="float64")
    silicon.set_constraint(constraint)
    with pytest.raises(InputError, match=rf"npt moves all atoms.*{type(constraint).__name__}.*use nvt"):
        next(simulate(silicon, 1, MDSettings(ensemble="npt")))


@pytest.mark.parametrize(
    "constraints, message",
    [
        (lambda a: [FixInternals(bonds=[(1.0, [0, 1])])], "cannot hold FixInternals"),
        (lambda a: [Uncounted()], "Uncounted does not say how many"),
        (lambda a: [FixedMode(np.ones((8, 3)))], "cannot hold FixedMode"),
        (lambda a: [FixSubsetCom([0, 1])], "cannot hold FixSubsetCom"),
        (lambda a: [FixLinearTriatomic([(0, 1, 2)])], "cannot hold FixLinearTriatomic"),
        (lambda a: [ExternalForce(0, 1, 0.1)], "cannot hold ExternalForce"),
        (lambda a: [FixAtoms([0]), FixBondLengths([(0, 1)])], "FixAtoms, FixBondLengths together"),
        (lambda a: [FixAtoms([0]), FixCom()], "FixAtoms, FixCom together"),
        (lambda a: [FixAtoms(range(8))], "leave nothing"),
    ],
)
def test_constraints_that_dynamics_would_break_are_refused(morse, constraints, message):
    atoms = bulk("Si", cubic=True)
    atoms.calc = Calculator(morse, device="cpu", dtype="float64")
    atoms.set_constraint(constraints(atoms))
    for ensemble in ("nve", "nvt"):
        with pytest.raises(InputError, match=message):
            next(simulate(atoms, 1, MDSettings(ensemble=ensemble)))


def test_simplified_constraints_are_few_and_along_the_axes_cartesian():
    atoms = Atoms("H4", np.eye(4)[:, :3], cell=[3, 4, 5], pbc=True)
    atoms.set_constraint([FixCartesian(i, (False, i == 3, True)) for i in range(4)] + [FixScaled([0], (1, 1, 0))])
    fixed, plane, line = simplified(atoms)
    assert (type(fixed), fixed.index.tolist()) == (FixAtoms, [0])
    assert (type(plane), plane.index.tolist(), plane.mask.tolist()) == (FixCartesian, [1, 2], [False, False, True])
    assert (type(line), line.index.tolist(), line.mask.tolist()) == (FixCartesian, [3], [False, True, True])


def test_relaxation_keeps_the_plane_of_a_skew_cell(morse, silicon):
    silicon.calc = Calculator(morse, device="cpu", dtype="float64")
    silicon.set_constraint([FixScaled([0, 1], (False, False, True)), FixedLine([2], (1, 1, 0))])
    scaled, across = silicon.get_scaled_positions()[:2, 2], silicon.positions[2] @ [1, -1, 0]
    result = relax(silicon, fmax=1e-3)
    assert result.converged
    np.testing.assert_allclose(silicon.get_scaled_positions()[:2, 2], scaled, atol=1e-12)
    assert silicon.positions[2] @ [1, -1, 0] == pytest.approx(across, abs=1e-12)
    forces = silicon.get_forces(apply_constraint=False)
    assert np.abs(forces[:2] @ silicon.cell.array[:2].T).max() < 0.01
    assert np.abs(forces[2]).max() > 1e-3


def test_a_cell_does_not_relax_against_cartesian_constraints(morse, silicon):
    silicon.calc = Calculator(morse, device="cpu", dtype="float64")
    silicon.set_constraint(FixCartesian([0], (False, False, True)))
    with pytest.raises(InputError, match=r"FixCartesian.*leave --cell out.*FixScaled"):
        relax(silicon, cell=True)
    silicon.set_constraint([FixScaled([0], (False, False, True)), FixCartesian([1], (True, True, True))])
    held = silicon.get_scaled_positions()[0, 2]
    relax(silicon, fmax=0.01, cell=True)
    assert silicon.get_scaled_positions()[0, 2] == pytest.approx(held, abs=1e-9)
