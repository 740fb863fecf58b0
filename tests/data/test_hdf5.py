"""HDF5 of SPICE and of the ANI sets: groups, units, gradients, and NaN for what was not computed."""

import numpy as np
import pytest
from ase.units import Bohr, Hartree

from equitensor.data import convert, open_snapshots
from equitensor.data.formats import hdf5
from equitensor.errors import InputError

h5py = pytest.importorskip("h5py")
POS = np.array([[[0.0, 0, 0], [0, 0, 1.4]], [[0, 0, 0], [0, 0, 1.6]]], np.float32)
GRADIENT = np.array([[[0.0, 0, -0.1], [0, 0, 0.1]], [[0, 0, -0.2], [0, 0, 0.2]]], np.float32)
H2 = [1, 1]


@pytest.fixture
def write(tmp_path):
    """write({group: {dataset: (array, units or None)}}) -> the file."""

    def write(groups, name="a.hdf5"):
        with h5py.File(tmp_path / name, "w") as file:
            for group, datasets in groups.items():
                for dataset, (array, unit) in datasets.items():
                    made = file.create_dataset(f"{group}/{dataset}", data=array)
                    if unit is not None:
                        made.attrs["units"] = unit
        return tmp_path / name

    return write


def spice(unit=None, **more):
    return {
        "atomic_numbers": (np.array(H2, np.int16), None),
        "conformations": (POS, unit and "bohr"),
        "formation_energy": (np.array([-0.1, -0.12]), unit),
        "dft_total_energy": (np.array([-1.1, -1.12]), unit),
        "dft_total_gradient": (GRADIENT, unit and f"{unit}/bohr"),
        "subset": ([b"SPICE Dimers"], None),
        **more,
    }


def ani(energy=(-1.1, -1.12), **more):
    return {
        "atomic_numbers": (np.array(H2, np.uint8), None),
        "coordinates": (POS, None),
        "wb97x_dz.energy": (np.array(energy), None),
        "wb97x_dz.forces": (-GRADIENT, None),
        **more,
    }


@pytest.mark.parametrize("unit", [None, "hartree"])
def test_spice_is_in_atomic_units_and_holds_gradients(write, unit, caplog):
    path = write({"b": spice(unit), "a": spice(unit)})
    assert hdf5.recognises(path)
    data = open_snapshots(path)
    assert [s.group for s in data] == ["a", "a", "b", "b"] and data[0].config_type == "SPICE Dimers"
    assert data[1].source == f"{path}, group a, frame 1" and data[1].z.tolist() == H2
    assert data[1].energy == pytest.approx(-0.12 * Hartree, rel=1e-12)
    np.testing.assert_allclose(data[1].pos[1, 2], 1.6 * Bohr, rtol=1e-6)
    np.testing.assert_allclose(data[1].forces, -GRADIENT[1] * Hartree / Bohr, rtol=1e-6)
    assert "energies are formation_energy; energy_key names others, as dft_total_energy" in caplog.text
    total = open_snapshots(path, energy_key="dft_total_energy")[1]
    assert total.energy == pytest.approx(-1.12 * Hartree, rel=1e-12) and np.array_equal(total.forces, data[1].forces)


def test_other_units_of_the_attributes_are_obeyed(write):
    path = write({"a": spice("eV")})
    first = open_snapshots(path)[0]
    assert first.energy == pytest.approx(-0.1, rel=1e-12)
    np.testing.assert_allclose(first.forces, -GRADIENT[0] / Bohr, rtol=1e-6)
    with pytest.raises(InputError, match=r"a\.hdf5: energy_unit: unknown unit 'parsec'"):
        open_snapshots(write({"a": spice("parsec")}))


def test_in_ani_nan_is_a_label_that_is_missing(write, caplog):
    ccsd = {"ccsd(t)_cbs.energy": (np.array([np.nan, -1.15]), None)}
    path = write({"H2": ani((-1.1, np.nan), **ccsd)})
    first, second = open_snapshots(path)
    assert first.energy == pytest.approx(-1.1 * Hartree) and second.energy is None
    np.testing.assert_allclose(second.forces, -GRADIENT[1] * Hartree, rtol=1e-6)  # Hartree/Angstrom
    np.testing.assert_array_equal(second.pos, POS[1])
    assert "wb97x_dz.energy is missing (NaN) in 1 of 2 frames" in caplog.text
    (only,) = open_snapshots(path, energy_key="ccsd(t)_cbs.energy")
    assert only.energy == pytest.approx(-1.15 * Hartree) and only.forces is None  # of another calculation
    assert "1 frames without any of these are left out" in caplog.text
    assert len(convert(path, path.parent / "a.lmdb")) == 2


def test_coupled_cluster_alone_takes_no_forces_of_dft(write):
    group = ani(**{"ccsd(t)_cbs.energy": (np.array([-1.2, -1.15]), None)})
    del group["wb97x_dz.energy"]
    first = open_snapshots(write({"H2": group}))[0]
    assert first.energy == pytest.approx(-1.2 * Hartree) and first.forces is None


def test_ani_2x_names_the_elements_of_each_frame(write, caplog):
    group = {
        "species": (np.array([[1, 9], [9, 1]]), None),
        "coordinates": (POS, None),
        "energies": (np.array([-1.0, -2.0]), None),
        "forces": (-GRADIENT, None),
    }
    first, second = open_snapshots(write({"002": group}))
    assert "those of the ANI sets are assumed, Hartree and Angstrom" in caplog.text
    assert first.z.tolist() == [1, 9] and second.z.tolist() == [9, 1] and second.energy == -2 * Hartree
    group["species"] = (np.array([b"H", b"F"]), None)
    assert open_snapshots(write({"set/gdb": group}, "b.h5"))[1].z.tolist() == [1, 9]
    group["species"] = (np.array([b"H", b"Xy"]), None)
    with pytest.raises(InputError, match=r"group gdb: species 'Xy' is no chemical symbol"):
        open_snapshots(write({"gdb": group}, "c.h5"))


def test_labels_of_other_names_need_a_unit(write):
    mine = {"E": (np.array([-1.0, -2.0]), None), "F": (-GRADIENT, None)}
    path = write({"a": ani(**mine)})
    with pytest.raises(
        InputError, match=r"a\.hdf5: the file does not say in which unit E is; name it with energy_unit"
    ):
        open_snapshots(path, energy_key="E")
    with pytest.raises(InputError, match=r"in which unit F is; name it with forces_unit"):
        open_snapshots(path, energy_key="none", forces_key="F")
    first = open_snapshots(path, energy_key="E", forces_key="F", energy_unit="eV")[0]
    assert first.energy == -1.0 and np.array_equal(first.forces, -GRADIENT[0])
    mine["E"] = (mine["E"][0], "eV")
    assert open_snapshots(write({"a": ani(**mine)}), energy_key="E")[1].energy == -2.0
    other = ani(**{"mp2_tz.corr_energy": (np.array([-1.0, -2.0]), None)})
    assert open_snapshots(write({"a": other}), energy_key="mp2_tz.corr_energy")[0].energy == -Hartree


def test_groups_that_differ_are_refused(write):
    with pytest.raises(InputError, match=r"group b: has the layout of ANI-1x, but the file begins with SPICE"):
        open_snapshots(write({"a": spice(), "b": ani()}))
    with pytest.raises(InputError, match=r"group b: conformations is in nm, in the first group in bohr"):
        open_snapshots(write({"a": spice("hartree"), "b": spice("hartree", conformations=(POS, "nm"))}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conformations": (POS[:, :1], None)}, r"group a: atomic numbers of shape \(2,\) and positions"),
        (
            {"dft_total_gradient": (GRADIENT[:1], None)},
            r"group a: dft_total_gradient has shape \(1, 2, 3\), but there are 2",
        ),
        ({"dft_total_gradient": (GRADIENT[:, :1], None)}, r"group a, frame 0: dft_total_gradient has shape \(1, 3\)"),
        ({"formation_energy": (np.array([np.nan, 1]), None)}, r"group a, frame 0: the energy is nan"),
    ],
)
def test_what_does_not_fit_is_named(write, change, message):
    with pytest.raises(InputError, match=rf"a\.hdf5, {message}"):
        open_snapshots(write({"a": spice(**change)}))


def test_another_layout_and_a_cut_file_say_so(write):
    path = write({"a": {"z": (np.ones(2), None)}})
    with pytest.raises(InputError, match=r"a\.hdf5: HDF5 in no layout that is read"):
        open_snapshots(path)
    with pytest.raises(InputError, match=r"no group in this file holds atomic_numbers and conformations \(SPICE\)"):
        open_snapshots(path, format="hdf5")
    whole = write({"a": spice()}).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.hdf5: not a whole HDF5 file"):
        open_snapshots(path, format="hdf5")


def test_without_h5py_it_is_named(write, monkeypatch):
    path = write({"a": spice()})
    monkeypatch.setattr(hdf5, "has_h5py", lambda: False)
    for options in ({}, {"format": "hdf5"}):
        with pytest.raises(InputError, match=r"pip install equitensor\[hdf5\]"):
            open_snapshots(path, **options)
