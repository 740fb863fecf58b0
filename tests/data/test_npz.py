"""MD17, revised MD17 and sGDML as archives of numpy: their names, their units, and what is refused."""

import numpy as np
import pytest
from ase.units import Hartree, kcal, mol

from equitensor.data import open_snapshots
from equitensor.errors import InputError, NoLabelsError

KCAL = kcal / mol
POS = np.array([[[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], [[0.0, 0, 0], [1.0, 0, 0], [-0.2, 0.9, 0.1]]])
FORCES = np.arange(18.0).reshape(2, 3, 3) - 7
SGDML = {
    "type": np.array("d"),
    "theory": np.array("CCSD(T)"),
    "name": np.array("water"),
    "z": np.array([8, 1, 1], np.uint8),
    "R": POS,
    "E": np.array([[-47.0], [-46.0]]),
    "F": FORCES,
}
RMD17 = {
    "nuclear_charges": np.array([8, 1, 1]),
    "coords": POS,
    "energies": np.array([-47.0, -46.0]),
    "forces": FORCES,
    "old_indices": np.array([5, 9]),
    "old_energies": np.array([-1.0, -2.0]),
    "old_forces": 0 * FORCES,
}


@pytest.fixture
def write(tmp_path):
    def write(arrays, **more):
        np.savez_compressed(tmp_path / "a.npz", **{k: v for k, v in {**arrays, **more}.items() if v is not None})
        return tmp_path / "a.npz"

    return write


@pytest.mark.parametrize("arrays", [SGDML, RMD17])
def test_md17_is_in_kcal_per_mol(write, arrays):
    path = write(arrays)
    first, second = open_snapshots(path)
    assert first.z.tolist() == [8, 1, 1] and not first.pbc.any() and not first.cell.any()
    assert first.energy == pytest.approx(-47 * KCAL, rel=1e-12) and second.energy == pytest.approx(
        -46 * KCAL, rel=1e-12
    )
    np.testing.assert_allclose(second.forces, FORCES[1] * KCAL, rtol=1e-12)
    np.testing.assert_array_equal(second.pos, POS[1])
    assert second.source == f"{path}, frame 1"


def test_units_that_are_written_there_come_before_those_of_md17_and_options_before_both(write, caplog):
    path = write(SGDML, e_unit=np.array("Hartree"), r_unit=np.array("au"))
    first = open_snapshots(path)[0]
    assert "units" not in caplog.text
    assert first.energy == pytest.approx(-47 * Hartree, rel=1e-12)
    np.testing.assert_allclose(first.pos, POS[0] * 0.529177210, rtol=1e-7)
    np.testing.assert_allclose(first.forces, FORCES[0] * Hartree / 0.529177210, rtol=1e-7)
    assert open_snapshots(path, energy_unit="eV", length_unit="Angstrom")[0].energy == -47
    assert "MD17 are assumed" in (open_snapshots(write(SGDML)), caplog.text)[1]


def test_lattice_vectors_of_sgdml_are_columns(write):
    lattice = np.array([[5.0, 1, 0], [0, 6, 0], [0, 0, 7]])
    first = open_snapshots(write(SGDML, lattice=lattice))[0]
    assert first.pbc.all()
    np.testing.assert_array_equal(first.cell, lattice.T)


def test_molecules_of_several_sizes_are_padded_with_zeros(write):
    z = np.array([[8, 1, 1], [8, 1, 0]])
    first, second = open_snapshots(write(SGDML, z=z), energy_unit="eV")
    assert second.z.tolist() == [8, 1] and len(first) == 3
    np.testing.assert_array_equal(second.forces, FORCES[1, :2])
    np.testing.assert_array_equal(second.pos, POS[1, :2])


def test_other_calculations_are_read_by_name(write):
    assert [s.energy for s in open_snapshots(write(RMD17), energy_key="old_energies", energy_unit="eV")] == [-1, -2]
    with pytest.raises(InputError, match=r"a\.npz: energy_key: no frame has 'E_mp2'"):
        open_snapshots(write(RMD17), energy_key="E_mp2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": None}, "does not say its units; name them with energy_unit"),
        ({"code_version": np.array("1.0")}, "does not say its units; name them with energy_unit"),
        ({"e_unit": np.array("parsec")}, r"energy_unit: unknown unit 'parsec'"),
        ({"F": FORCES[:1]}, r"F has shape \(1, 3, 3\), but there are 2 frames"),
        ({"F": FORCES[:, :2]}, r"frame 0: F has shape \(2, 3\), expected \(3, 3\)"),
        ({"R": POS[:, :2]}, r"shape \(3,\) and positions of shape \(2, 2, 3\) do not fit"),
        ({"z": np.array([8.5, 1, 1])}, "which are no elements"),
        ({"z": np.array(["O", "H", "H"])}, "atomic numbers of type <U1, not numbers"),
        ({"E": np.array([-1.0, np.nan])}, "frame 1: the energy is nan"),
        ({"E": np.array([None, {}])}, "E cannot be read"),
    ],
)
def test_what_does_not_fit_is_named(write, change, message):
    with pytest.raises(InputError, match=rf"a\.npz.*{message}"):
        open_snapshots(write(SGDML, **change))


def test_a_file_without_labels_says_what_it_has_and_how_to_name_it(write):
    path = write(SGDML, E=None, F=None, U0=np.array([-47.0, -46.0]))
    message = (
        r"a\.npz: no energy, forces or stress found\. The keys in this file are U0.*Name the right ones with energy_key"
    )
    with pytest.raises(NoLabelsError, match=message):
        open_snapshots(path)
    assert open_snapshots(path, energy_key="U0", energy_unit="eV")[1].energy == -46


def test_a_file_that_is_cut_off_is_named(write):
    path = write(SGDML)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"a\.npz: not a whole \.npz file"):
        open_snapshots(path, format="npz")
