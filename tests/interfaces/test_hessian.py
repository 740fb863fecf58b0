"""Second derivatives against finite differences of forces, against formulas, and vibrations against ASE's."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixBondLengths, FixedLine, FixedPlane
from ase.vibrations import Vibrations as AseVibrations

import equitensor
from equitensor import models
from equitensor.errors import InputError
from equitensor.interfaces import Calculator, vibrations
from equitensor.interfaces import hessian as hessian_of
from equitensor.interfaces.vibrations import largest_free_force

DIMER = 2 ** (1 / 6)  # minimum of Lennard-Jones, where its second derivative is 72 / 2^(1/3)


def off_its_sites(atoms):
    atoms.rattle(0.05, seed=3)
    return atoms


def differences(calc, atoms, step=1e-3):
    """-dF/dx by a fourth-order formula."""
    columns = []
    for c in range(3 * len(atoms)):
        forces = {}
        for t in (-2, -1, 1, 2):
            moved = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, calculator=calc)
            moved.positions.flat[c] += t * step
            forces[t] = moved.get_forces().ravel()
        columns.append(-(8 * (forces[1] - forces[-1]) - (forces[2] - forces[-2])) / (12 * step))
    return np.array(columns)


@pytest.fixture(scope="module", params=["molecule", "crystal", "slab"])
def structure(request):
    if request.param == "molecule":
        return off_its_sites(molecule("CH3OH"))
    crystal = off_its_sites(bulk("Cu", a=3.7) * (2, 1, 1))  # images of an atom are its neighbours
    crystal.pbc = (True, True, request.param == "crystal")
    return crystal


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_the_analytic_one_is_the_derivative_of_the_forces(potential, structure, backend):
    calc = Calculator(potential, "cpu", "float64", backend=backend)
    analytic = equitensor.hessian(calc, structure)
    scale = abs(analytic).max()
    assert analytic.shape == (3 * len(structure),) * 2
    assert analytic.dtype == np.float64
    assert abs(analytic - differences(calc, structure)).max() < 1e-6 * scale
    assert abs(analytic - analytic.T).max() < 1e-12 * scale
    assert abs(analytic.reshape(-1, len(structure), 3).sum(axis=1)).max() < 1e-12 * scale


def test_it_is_in_float64_whatever_the_calculator_is(potential, structure):
    single, double = (hessian_of(Calculator(potential, "cpu", dtype), structure) for dtype in ("float32", "float64"))
    np.testing.assert_allclose(single, double, atol=1e-12 * abs(double).max())


def test_rows_do_not_depend_on_how_many_are_made_at_once(potential, monkeypatch):
    atoms, calc = off_its_sites(molecule("CH3OH")), Calculator(potential, "cpu", "float64")
    whole = hessian_of(calc, atoms)
    for edges in (1, 4 * 30, 1000):  # one copy, some that do not divide 18 rows, all
        monkeypatch.setattr("equitensor.models.hessian._EDGES", edges)
        np.testing.assert_allclose(hessian_of(calc, atoms), whole, atol=1e-12 * abs(whole).max())


def test_the_model_is_the_one_that_was_opened(potential, tmp_path):
    atoms, path = off_its_sites(molecule("CH3OH")), tmp_path / "model.eqt"
    path.write_bytes(potential.read_bytes())
    calc = Calculator(path, "cpu", "float64")
    expected = hessian_of(calc, atoms)
    other = models.load(path)
    for parameter in other.parameters():
        parameter.data *= 1.1
    models.save(other, path)
    np.testing.assert_array_equal(hessian_of(calc, atoms), expected)


def test_an_atom_alone_has_a_zero_one(potential):
    assert not hessian_of(Calculator(potential, "cpu"), Atoms("O")).any()


def test_models_in_python_and_other_calculators_have_differences(morse, cluster):
    calc = Calculator(morse, "cpu", "float64")
    by_differences = hessian_of(calc, cluster)
    np.testing.assert_allclose(by_differences, differences(calc, cluster), atol=1e-3 * abs(by_differences).max())
    np.testing.assert_array_equal(by_differences, by_differences.T)


def test_lennard_jones_has_its_formula():
    hessian = hessian_of(LennardJones(rc=10, smooth=False), Atoms("Ar2", [[0, 0, 0], [DIMER, 0, 0]]), step=1e-4)
    expected = np.zeros((6, 6))
    expected[np.ix_([0, 3], [0, 3])] = np.array([[1, -1], [-1, 1]]) * 72 / 2 ** (1 / 3)
    np.testing.assert_allclose(hessian, expected, atol=1e-4)


def test_constraints_do_not_count_and_atoms_stay(potential):
    atoms = off_its_sites(molecule("CH3OH"))
    for calc in (Calculator(potential, "cpu", "float64"), LennardJones(rc=10)):
        expected = hessian_of(calc, atoms)
        held = atoms.copy()
        held.set_constraint([FixAtoms([0]), FixedPlane([2], (0, 0, 1))])
        np.testing.assert_allclose(hessian_of(calc, held), expected, atol=1e-12 * abs(expected).max())
        np.testing.assert_array_equal(held.positions, atoms.positions)


def test_what_is_wrong_is_said(potential):
    calc = Calculator(potential, "cpu")
    with pytest.raises(InputError, match="step is 0"):
        hessian_of(calc, molecule("CH3OH"), step=0)
    with pytest.raises(InputError, match="Si"):
        hessian_of(calc, molecule("SiH4"))
    atoms = molecule("CH3OH")
    atoms.set_constraint(FixBondLengths([(0, 1)]))
    with pytest.raises(InputError, match="FixBondLengths"):
        vibrations(calc, atoms)
    atoms.set_constraint(FixAtoms(range(len(atoms))))
    with pytest.raises(InputError, match="hold all atoms"):
        vibrations(calc, atoms)


@pytest.mark.parametrize("held", [[], [0, 3]])
def test_vibrations_are_those_of_ase(potential, tmp_path, held):
    atoms = off_its_sites(molecule("CH3OH"))
    atoms.calc = Calculator(potential, "cpu", "float64")
    atoms.set_constraint(FixAtoms(held) if held else None)
    modes = vibrations(atoms.calc, atoms)
    free = [i for i in range(len(atoms)) if i not in held]
    by_ase = AseVibrations(atoms, indices=free, name=str(tmp_path / "vib"), delta=1e-3, nfree=4)
    by_ase.run()
    energies = by_ase.get_energies()
    signed = energies.real - energies.imag
    assert len(modes.energies) == 3 * len(free)
    large = abs(signed) > 1e-3  # eV; those near zero are roots of rounding
    np.testing.assert_allclose(modes.energies[large], signed[large], rtol=1e-6)
    assert abs(modes.energies[~large]).max(initial=0) < 1e-3
    mode = by_ase.get_mode(len(signed) - 1)
    ours = modes.displacements[-1]
    np.testing.assert_allclose(ours * np.sign((ours * mode).sum()), mode, atol=1e-5)
    np.testing.assert_allclose(modes.wavenumbers, modes.energies / units.invcm)


def test_a_dimer_vibrates_as_it_must():
    atoms = Atoms("ArHe", [[0, 0, 0], [DIMER, 0, 0]])
    modes = vibrations(LennardJones(rc=10, smooth=False), atoms)
    mass = 1 / (1 / atoms.get_masses()).sum()
    to_energy = units._hbar * 1e10 / np.sqrt(units._e * units._amu)
    expected = to_energy * np.sqrt(72 / 2 ** (1 / 3) / mass)
    assert modes.energies[-1] == pytest.approx(expected, rel=1e-3)
    assert modes.whole.tolist() == [True] * 5 + [False]
    assert modes.zero_point_energy == pytest.approx(modes.energies[-1] / 2)
    stretched = Atoms("ArHe", [[0, 0, 0], [1.5, 0, 0]])  # beyond the point of inflection at 1.2445
    modes = vibrations(LennardJones(rc=10, smooth=False), stretched)
    assert (modes.imaginary & ~modes.whole).tolist() == [True] + [False] * 5
    assert modes.zero_point_energy == 0


def test_an_atom_on_a_line_vibrates_along_it():
    atoms = Atoms("Ar2", [[0, 0, 0], [DIMER, 0, 0]])
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    atoms.positions = atoms.positions @ turned
    axis = atoms.positions[1] / DIMER
    atoms.set_constraint([FixAtoms([0]), FixedLine([1], axis)])
    calc = LennardJones(rc=10, smooth=False)
    modes = vibrations(calc, atoms)
    assert modes.energies.shape == (1,)
    assert not modes.whole.any()
    direction = modes.displacements[0, 1] * np.sqrt(atoms.get_masses()[1])
    assert abs(direction @ axis) == pytest.approx(1)
    assert largest_free_force(calc, atoms) < 1e-9
    atoms.positions[1] *= 0.9
    pulled = atoms.copy()
    pulled.set_constraint()
    pulled.calc = calc
    expected = np.linalg.norm(pulled.get_forces()[1])
    assert largest_free_force(calc, atoms) == pytest.approx(expected)
