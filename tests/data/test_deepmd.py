"""Systems of DeePMD-kit: types, sets, cells, the sign of the virial, and mixed systems."""

import numpy as np
import pytest

from equitensor.data import open_snapshots
from equitensor.data.formats import deepmd
from equitensor.data.snapshots import find_sources
from equitensor.errors import InputError

POS = np.array([[[0.0, 0, 0], [0, 0, 1.5], [1.5, 0, 0]], [[0, 0, 0], [0, 0, 1.6], [1.6, 0, 0]]])
BOX = np.array([[[5.0, 0, 0], [1, 6, 0], [0, 0, 7]]] * 2)
FORCES = np.arange(18.0).reshape(2, 3, 3)
VIRIAL = np.array([[[2.0, 1, 0], [1, 4, 0], [0, 0, 6]]] * 2)
ARRAYS = {"coord": POS, "box": BOX, "energy": np.array([-3.0, -4.0]), "force": FORCES, "virial": VIRIAL}


@pytest.fixture
def write(tmp_path):
    """write(types, elements, {set: arrays}) -> the folder of a system."""

    def write(types="0\n1\n1\n", elements="Si\nO\n", sets=None, name="system"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "type.raw").write_text(types)
        if elements is not None:
            (folder / "type_map.raw").write_text(elements)
        for part, arrays in (sets or {"set.000": ARRAYS}).items():
            (folder / part).mkdir()
            for key, array in arrays.items():
                flat = array.reshape(len(array), -1) if array.ndim > 1 else array
                np.save(folder / part / f"{key}.npy", flat)
        return folder

    return write


def test_a_system_is_read_set_by_set_and_its_virial_turned_into_stress(write, caplog):
    second = {name: array[:1] for name, array in ARRAYS.items() if name != "force"}
    folder = write(sets={"set.10": second, "set.2": ARRAYS})
    assert deepmd.recognises(folder) and find_sources(folder) == [(folder, "deepmd")]
    data = open_snapshots(folder)
    assert [s.energy for s in data] == [-3, -4, -3] and data[2].forces is None
    first = data[0]
    assert first.z.tolist() == [14, 8, 8] and first.pbc.all() and first.source == f"{folder / 'set.2'}, frame 0"
    np.testing.assert_array_equal(first.cell, BOX[0])
    np.testing.assert_array_equal(first.forces, FORCES[0])
    np.testing.assert_allclose(
        first.stress, -VIRIAL[0] / (5 * 6 * 7), rtol=1e-12
    )  # under tension the virial is negative
    assert "of no known format" not in caplog.text


def test_without_cells_there_is_no_stress(write):
    folder = write(sets={"set.000": {name: array for name, array in ARRAYS.items() if name != "box"}})
    with pytest.raises(InputError, match=r"set\.000: no box\.npy; a system without cells has an empty file nopbc"):
        open_snapshots(folder)
    (folder / "nopbc").touch()
    first = open_snapshots(folder)[0]
    assert not first.pbc.any() and first.stress is None and first.forces is not None


def test_types_of_each_frame_of_a_mixed_system(write):
    types = np.array([[0, 1, 1], [1, 0, -1]])
    first, second = open_snapshots(write("0\n0\n0\n", sets={"set.000": ARRAYS | {"real_atom_types": types}}))
    assert first.z.tolist() == [14, 8, 8] and second.z.tolist() == [8, 14]
    np.testing.assert_array_equal(second.forces, FORCES[1, :2])
    assert second.stress is not None


def test_elements_are_asked_for_where_they_are_not_named(write):
    folder = write(elements=None)
    with pytest.raises(InputError, match=r"no type_map\.raw.*elements=\[Si, O\]"):
        open_snapshots(folder)
    assert open_snapshots(folder, elements="Ge,O")[0].z.tolist() == [32, 8, 8]


def test_text_instead_of_sets(tmp_path):
    (tmp_path / "type.raw").write_text("0 0\n")
    (tmp_path / "type_map.raw").write_text("H\n")
    (tmp_path / "nopbc").touch()
    for name, text in (
        ("coord", "0 0 0 0 0 0.7\n0 0 0 0 0 0.8"),
        ("energy", "-6.5\n-6.6"),
        ("force", "0 0 1 0 0 -1\n" * 2),
    ):
        (tmp_path / f"{name}.raw").write_text(text)
    data = open_snapshots(tmp_path)
    assert [s.energy for s in data] == [-6.5, -6.6] and data[1].forces[1, 2] == -1


def test_systems_below_a_folder_and_parts_of_one(write, tmp_path):
    systems = [write(name=name) for name in ("a", "b")]
    assert find_sources(tmp_path) == [(folder, "deepmd") for folder in systems]
    for part in ("type.raw", "set.000", "set.000/coord.npy"):
        with pytest.raises(InputError, match=rf"a part of a system of DeePMD-kit; name the folder {systems[0]}"):
            open_snapshots(systems[0] / part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"types": "0\n1\n2\n"}, r"type\.raw: type 2, but only 2 elements are named \(Si, O\)"),
        ({"types": "0\n1\n"}, r"coord\.npy: 9 values a frame, but type\.raw has 2 atoms, which need 6"),
        ({"elements": "Si\nType_1\n"}, r"type_map\.raw: elements: 'Type_1' is no chemical symbol"),
        ({"energy": np.ones(3)}, r"energy\.npy: 3 frames, but coord beside it has 2"),
        ({"force": np.ones((2, 6))}, r"set\.000, frame 0: force has shape \(3, 2\), expected \(3, 3\)"),
        ({"box": np.ones((2, 3))}, r"box\.npy: shape \(2, 3\), expected \(2, 9\)"),
        ({"energy": np.array(["a", "b"])}, r"energy\.npy: values of type <U1, not numbers"),
    ],
)
def test_what_does_not_fit_is_named(write, change, message):
    named = {name: change[name] for name in ("types", "elements") if name in change}
    arrays = {name: array for name, array in change.items() if name not in named}
    with pytest.raises(InputError, match=message):
        open_snapshots(write(**named, sets={"set.000": ARRAYS | arrays}))
