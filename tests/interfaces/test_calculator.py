import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import fcc111
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.stress import full_3x3_to_voigt_6_stress

import equitensor
from equitensor import interfaces, models
from equitensor.errors import InputError
from equitensor.graph import from_ase
from equitensor.interfaces import Calculator


@pytest.fixture
def potential():
    settings = {"cutoff": 4.0, "channels": 4, "lmax": 2, "layers": 2}
    return models.build(settings, elements=(6, 14), e0s={6: -1.0, 14: -2.0})


def calculator(model, **options):
    return Calculator(model, device="cpu", dtype="float64", **options)


def test_results_are_those_of_the_model(morse, silicon):
    silicon.calc = calculator(morse)
    expected = morse.double()(from_ase(silicon, morse.cutoff))
    assert silicon.get_potential_energy() == pytest.approx(float(expected["energy"]), abs=1e-12)
    assert silicon.get_potential_energy(force_consistent=True) == silicon.get_potential_energy()
    np.testing.assert_allclose(silicon.get_forces(), expected["forces"], atol=1e-12)
    np.testing.assert_allclose(silicon.get_potential_energies(), expected["energies"], atol=1e-12)
    voigt = full_3x3_to_voigt_6_stress(expected["stress"][0].numpy())
    np.testing.assert_allclose(silicon.get_stress(), voigt, atol=1e-14)


def test_forces_and_stress_are_finite_differences(morse, silicon):
    silicon.calc = calculator(morse)
    forces, stress = silicon.get_forces(), silicon.get_stress()
    numeric = calculate_numerical_forces(silicon, eps=1e-4)
    np.testing.assert_allclose(forces, numeric, atol=1e-6)
    numeric = calculate_numerical_stress(silicon, eps=1e-5)
    np.testing.assert_allclose(stress, numeric, atol=1e-7)
    assert np.abs(forces).max() > 0.1
    assert np.abs(stress).max() > 1e-3


def test_no_stress_without_full_periodicity(morse, cluster):
    cluster.calc = calculator(morse)
    cluster.get_forces()
    with pytest.raises(PropertyNotImplementedError, match=r"is along no direction: give it a cell with vacuum"):
        cluster.get_stress()
    cluster.cell, cluster.pbc = [9, 9, 30], [True, True, False]
    with pytest.raises(PropertyNotImplementedError, match=r'is along a, b: Calculator\(..., stress="cell"\)'):
        cluster.get_stress()
    assert cluster.get_potential_energy() < -15


def test_stress_of_a_slab_with_the_cell_that_it_has(potential):
    slab = fcc111("Si", (2, 2, 2), a=5.0, vacuum=6.0)
    slab.rattle(0.1, seed=2)
    slab.pbc = [True, True, False]
    for model in (potential, potential.double()):
        slab.calc = calculator(model, stress="cell")
        energy, stress = slab.get_potential_energy(), slab.get_stress()
        np.testing.assert_allclose(stress, calculate_numerical_stress(slab, eps=1e-5), atol=1e-8)
    assert np.abs(stress).max() > 1e-4
    slab.calc = calculator(potential)
    assert slab.get_potential_energy() == pytest.approx(energy, abs=1e-12)
    slab.pbc = True  # the vacuum is wider than the cutoff
    np.testing.assert_allclose(slab.get_stress(), stress, atol=1e-12)


def test_stress_of_a_molecule_goes_with_its_cell(morse, cluster):
    cluster.calc = calculator(morse, stress="cell")
    with pytest.raises(PropertyNotImplementedError):
        cluster.get_stress()
    cluster.cell = [10, 10, 10]
    stress = cluster.get_stress()
    cluster.cell = [20, 10, 10]
    np.testing.assert_allclose(cluster.get_stress(), stress / 2, atol=1e-15)
    with pytest.raises(InputError, match="stress is 'area'"):
        calculator(morse, stress="area")


def _moves(atoms, seed, npt):
    """A rattled, drifting, occasionally wrapped trajectory; with npt the cell breathes and shears too."""
    rng = np.random.default_rng(seed)
    for step in range(40):
        atoms.positions += 0.03 * rng.standard_normal((len(atoms), 3)) + [0.2, 0.1, 0]
        if npt:
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.004 * rng.standard_normal((3, 3))), True)
        if step % 15 == 14 and atoms.pbc.any():
            atoms.wrap()
        yield atoms


@pytest.mark.parametrize("kind", ["bulk", "breathing", "slab", "cluster"])
def test_the_skin_list_gives_the_graph_of_a_fresh_search(morse, silicon, cluster, kind):
    slab = fcc111("Si", (2, 2, 2), a=5.0, vacuum=6.0)
    atoms = {"slab": slab, "cluster": cluster}.get(kind, silicon)
    calc, fresh = calculator(morse, skin=0.8), calculator(morse, skin=0.0)
    for moved in _moves(atoms, 0, kind == "breathing"):
        calc.calculate(moved)
        fresh.calculate(moved)
        for name in ("edge_index", "shift", "rev", "pos", "cell"):
            assert getattr(calc._engine.graph, name).equal(getattr(fresh._engine.graph, name)), name
        assert calc.results["energy"] == fresh.results["energy"]
        np.testing.assert_array_equal(calc.results["forces"], fresh.results["forces"])
    assert 1 < calc._engine.neighbors.builds < 20
    assert fresh._engine.neighbors.builds >= 40


def test_the_skin_list_notices_what_changed(morse, cluster, silicon):
    calc = calculator(morse)
    calc.calculate(cluster)
    other = cluster.copy()
    other.numbers[0] = 14
    other.cell, other.pbc = [20, 20, 20], [True, False, False]
    for atoms in (other, silicon, cluster, silicon[:3], silicon * (2, 1, 1)):
        fresh = calculator(morse, skin=0.0)
        fresh.calculate(atoms)
        calc.calculate(atoms)
        assert calc.results["energy"] == fresh.results["energy"]


def test_every_public_name_exists():
    assert equitensor.Calculator is Calculator
    for name in interfaces.__all__:
        assert callable(getattr(interfaces, name))


def test_elements_and_descriptors(morse, cluster):
    calc = calculator(morse)
    assert calc.elements == ["C", "Si"]
    features = calc.descriptors(cluster)
    cluster.rotate(40, (1, 2, 3))
    assert features.shape == (5, 1)
    np.testing.assert_allclose(calc.descriptors(cluster), features, atol=1e-12)


def test_unknown_element(morse):
    with pytest.raises(InputError, match=r"holds Ni \(first at atom 1\).*C, Si only"):
        calculator(morse).calculate(Atoms("CNi", [[0, 0, 0], [0, 0, 2]]))


@pytest.mark.parametrize("cell", [None, [[4, 0, 0], [8, 0, 0], [0, 0, 5]]])
def test_periodic_without_a_cell(morse, cell):
    with pytest.raises(InputError, match=r"periodic along a, b, c.*pbc = False"):
        calculator(morse).calculate(Atoms("C2", [[0, 0, 0], [0, 0, 2]], pbc=True, cell=cell))


def test_two_atoms_in_one_place(morse, silicon):
    with pytest.raises(InputError, match=r"atoms 0 and 1 are in the same place"):
        calculator(morse).calculate(Atoms("C2", np.zeros((2, 3))))
    calc = calculator(morse)
    calc.calculate(silicon)
    silicon.positions[5] = silicon.positions[2] - silicon.cell[0] + [0, 0, 1e-5]
    with pytest.raises(InputError, match=r"atoms 2 and 5 are in the same place"):
        calc.calculate(silicon)


@pytest.mark.parametrize(
    "cell, message",
    [
        ([1, 1, 1], "placeholder"),
        ([np.nan, 5, 5], "cell .* not finite"),
        ([[4, 0, 0], [4, 1e-7, 0], [0, 0, 5]], "span"),
    ],
)
def test_cells_that_mean_nothing(morse, silicon, cell, message):
    """From the start, and when a cell that was right becomes such."""
    silicon.set_cell(cell)
    with pytest.raises(InputError, match=message):
        calculator(morse).calculate(silicon)
    calc, right = calculator(morse), silicon.copy()
    right.set_cell([5.4, 5.4, 5.4])
    calc.calculate(right)
    with pytest.raises(InputError, match=message):
        calc.calculate(silicon)


def test_an_atom_far_away_is_alone_and_one_absurdly_far_is_refused(morse, cluster):
    calc = calculator(morse)
    calc.calculate(cluster[:4])
    energy = calc.results["energy"] - 3.0
    cluster.positions[4] = [1e6, 0, 0]
    calc.calculate(cluster)
    assert calc.results["energy"] == pytest.approx(energy)
    cluster.positions[4] = [1e12, 0, 0]
    with pytest.raises(InputError, match="atom 4 is 1e\\+12 Angstrom from the origin"):
        calc.calculate(cluster)
    with pytest.raises(InputError, match="no atoms"):
        calc.calculate(Atoms())


def test_inference_mode_changes_nothing_and_leaves_nothing_behind(potential, silicon):
    expected = calculator(potential)
    expected.calculate(silicon)
    with torch.inference_mode():
        calc = calculator(potential)
        calc.calculate(silicon)
        features = calc.descriptors(silicon)
    for name in ("energy", "forces", "stress"):
        np.testing.assert_array_equal(calc.results[name], expected.results[name])
    np.testing.assert_array_equal(features, expected.descriptors(silicon))
    silicon.rattle(0.01, seed=3)  # outside, with the neighbours and tables that were kept inside
    calc.calculate(silicon)
    expected.calculate(silicon)
    np.testing.assert_array_equal(calc.results["forces"], expected.results["forces"])


@pytest.mark.parametrize(
    "options",
    [
        *({"device": name} for name in ("gpu", "mps", "xpu", "meta", "", 3, None)),
        {"dtype": "float16"},
        *({"skin": skin} for skin in (-1, float("nan"), None, "wide")),
    ],
)
def test_options_that_do_not_exist(morse, options):
    with pytest.raises(InputError):
        Calculator(morse, **options)


def test_no_atoms_are_no_structure(potential):
    with pytest.raises(InputError, match="the structure has no atoms"):
        calculator(potential).get_potential_energy(Atoms())
    with pytest.raises(InputError, match="the structure has no atoms"):
        from_ase(Atoms(), 4.0)
    with pytest.raises(InputError, match="the list of atoms is empty"):
        from_ase([], 4.0)


def test_the_model_that_was_passed_stays_as_it_was(morse, cluster):
    morse.train()
    cluster.calc = calculator(morse)
    cluster.get_forces()
    assert morse.training
    assert str(morse.dtype) == "torch.float32"
    assert all(p.requires_grad for p in morse.parameters())


def test_copies_and_pickles_go_on(potential, silicon):
    silicon.calc = calculator(potential)
    forces = silicon.get_forces()
    for twin in (copy.deepcopy(silicon), silicon.copy()):
        twin.calc = twin.calc or silicon.calc
        twin.rattle(0.01, seed=3)
        assert np.abs(twin.get_forces() - forces).max() > 1e-4
    again = pickle.loads(pickle.dumps(silicon.calc))
    again.calculate(silicon)
    np.testing.assert_array_equal(again.results["forces"], forces)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-10)])
def test_a_potential_through_the_skin_list(potential, silicon, dtype, tolerance):
    calc = Calculator(potential, device="cpu", dtype=dtype, skin=0.8)
    silicon.numbers[::3] = 6
    for moved in _moves(silicon, 1, npt=True):
        calc.calculate(moved)
    expected = potential.double().eval()(from_ase(silicon, potential.cutoff))
    assert calc._engine.neighbors.builds < 20
    assert calc.results["energy"] == pytest.approx(float(expected["energy"]), abs=tolerance)
    np.testing.assert_allclose(calc.results["forces"], expected["forces"], atol=tolerance)
    voigt = full_3x3_to_voigt_6_stress(expected["stress"][0].numpy())
    np.testing.assert_allclose(calc.results["stress"], voigt, atol=tolerance)
