"""ASE's databases with labels wherever people put them."""

import ase.db
import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from equitensor.data import open_snapshots
from equitensor.errors import InputError

FORCES = np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])


def molecule():
    return Atoms("HO", positions=[[0, 0, 0], [0.96, 0, 0]])


@pytest.fixture(params=["db", "json"])
def write(request, tmp_path):
    def writer(*rows, atoms=None, metadata=None, **named):
        path = tmp_path / f"molecules.{request.param}"
        with ase.db.connect(path) as database:
            for row in rows or ({},):
                database.write(atoms or molecule(), **row, **named)
            if metadata:
                database.metadata = metadata
        return path

    return writer


def test_labels_in_data_have_the_units_of_the_metadata(write):
    labels = {"energy": np.array([-20.0]), "forces": FORCES}
    metadata = {"_property_unit_dict": {"energy": "kcal/mol", "forces": "kcal/mol/Ang"}, "_distance_unit": "Ang"}
    path = write(data=labels, metadata=metadata)
    first = open_snapshots(path)[0]
    assert np.isclose(first.energy, -20 * units.kcal / units.mol, rtol=1e-12)
    assert np.allclose(first.forces, FORCES * units.kcal / units.mol, rtol=1e-12)
    other = open_snapshots(path, energy_unit="eV", forces_unit="eV/Angstrom")[0]
    assert other.energy == -20.0 and np.allclose(other.forces, FORCES)


def test_a_unit_of_the_metadata_that_is_unknown_is_named(write):
    path = write(data={"energy": np.array([-20.0])}, metadata={"_property_unit_dict": {"energy": "parsec"}})
    with pytest.raises(InputError, match="energy_unit: unknown unit 'parsec'"):
        open_snapshots(path)


def test_stress_of_periodic_rows_and_its_unit(write):
    atoms = molecule()
    atoms.set_cell([4, 4, 4])
    atoms.pbc = True
    stress = np.array([[[1.0, 2, 3], [2, 4, 5], [3, 5, 6]]])
    unit = {"_property_unit_dict": {"energy": "Hartree", "stress": "Hartree/Ang/Ang/Ang"}}
    path = write(atoms=atoms, data={"energy": np.array([-20.0]), "stress": stress}, metadata=unit)
    assert np.allclose(open_snapshots(path)[0].stress, stress[0] * units.Hartree)


def test_key_value_pairs_are_labels_and_groups(write):
    path = write({"dft_energy": -3.5, "run": "a"}, {"dft_energy": -3.6, "run": "b"})
    data = open_snapshots(path, group_key="run")
    assert [s.energy for s in data] == [-3.5, -3.6] and [s.group for s in data] == ["a", "b"]


def test_keys_of_data_and_pairs_are_listed(write):
    path = write({"gap": 0.5}, data={"U0": np.array([-20.0]), "F": FORCES, "mulliken": {"q": [0.1, -0.1]}})
    with pytest.raises(InputError, match=r"The keys in this file are F \(2, 3\), U0 \(1,\), gap, mulliken\.q \(2,\)"):
        open_snapshots(path)
    first = open_snapshots(path, energy_key="U0", forces_key="F")[0]
    assert first.energy == -20.0 and np.allclose(first.forces, FORCES)


def test_data_that_contradicts_the_calculator_has_a_name_of_its_own(write):
    atoms = molecule()
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=FORCES)
    path = write(atoms=atoms, data={"energy": -2.0})
    assert open_snapshots(path)[0].energy == -1.0
    assert open_snapshots(path, energy_key="data.energy")[0].energy == -2.0


def test_json_of_another_kind_is_no_database(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"energies": [1, 2]}')
    with pytest.raises(InputError, match=r"a\.json: not a readable ASE database"):
        open_snapshots(path)
