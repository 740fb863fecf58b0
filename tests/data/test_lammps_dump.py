"""LAMMPS dumps: no energies, and elements only where they are named."""

import numpy as np
import pytest
from ase import units

from equitensor.data import open_snapshots
from equitensor.errors import InputError


def dump(columns, *rows, steps=2):
    """Frames of a dump in a periodic box of 5 Angstrom."""
    lines = ["ITEM: BOX BOUNDS pp pp pp", "0 5", "0 5", "0 5", f"ITEM: ATOMS {columns}", *rows]
    head = "ITEM: TIMESTEP\n{}\nITEM: NUMBER OF ATOMS\n{}\n"
    return "".join(head.format(10 * step, len(rows)) + "\n".join(lines) + "\n" for step in range(steps))


TYPES = dump("id type x y z fx fy fz", "2 2 1 1 1 -1 -2 -3", "1 1 0 0 0 1 2 3")
NAMED = dump("id type element x y z fx fy fz", "1 1 Si 0 0 0 1 2 3", "2 2 O 1 1 1 -1 -2 -3")


@pytest.fixture
def read(tmp_path):
    def reader(text, **options):
        path = tmp_path / "run.lammpstrj"
        path.write_text(text)
        return open_snapshots(path, **options)

    return reader


@pytest.mark.parametrize(
    ("text", "options"), [(NAMED, {}), (TYPES, {"elements": ["Si", "O"]}), (TYPES, {"elements": "Si,O"})]
)
def test_forces_are_read_and_no_energy(read, caplog, text, options):
    data = read(text, **options)
    assert len(data) == 2 and data[1].z.tolist() == [14, 8]
    assert data[0].energy is None and data[0].forces.tolist() == [[1, 2, 3], [-1, -2, -3]]
    assert data[0].cell.tolist() == np.diag([5.0, 5, 5]).tolist() and data[0].pbc.all()
    assert "its forces are read in eV/Angstrom, as of units metal" in caplog.text


def test_the_units_of_a_dump_are_its_own(read, caplog):
    named = "ITEM: UNITS\n{}\n" + NAMED
    assert np.allclose(read(named.format("real"))[0].forces[0], np.array([1, 2, 3]) * units.kcal / units.mol)
    first = read(named.format("electron"))[0]
    assert np.allclose(first.forces[0], np.array([1, 2, 3]) * units.Hartree / units.Bohr)
    assert np.allclose(first.pos[1], units.Bohr)
    assert read(named.format("metal"))[0].forces[0].tolist() == [1, 2, 3]
    assert np.allclose(read(NAMED, energy_unit="kcal/mol")[0].forces[0], np.array([1, 2, 3]) * units.kcal / units.mol)
    assert not caplog.text
    with pytest.raises(InputError, match="a LAMMPS dump in units lj; name them with energy_unit"):
        read(named.format("lj"))


def test_types_are_not_elements(read):
    with pytest.raises(InputError, match=r"atoms of types 1, 2 whose elements are not named.*--elements Si O"):
        read(TYPES)


def test_the_element_that_lammps_gives_to_all_types_is_not_believed(read):
    with pytest.raises(InputError, match="types 1, 2 whose elements are not named"):
        read(NAMED.replace("Si", "C").replace(" O ", " C "))


def test_hydrogen_of_type_1_is_hydrogen(read):
    assert read(dump("id type element x y z fx fy fz", "1 1 H 0 0 0 1 2 3"))[0].z.tolist() == [1]


def test_masses_name_elements(read):
    assert read(dump("id type mass x y z fx fy fz", "1 1 28.0855 0 0 0 1 2 3"))[0].z.tolist() == [14]


def test_a_map_that_does_not_fit_is_refused(read, tmp_path):
    with pytest.raises(InputError, match="frame 0: elements names 1 types, but the dump has type 2"):
        read(TYPES, elements=["Si"])
    with pytest.raises(InputError, match="'Sj' is no chemical symbol"):
        read(TYPES, elements=["Sj", "O"])
    (tmp_path / "a.xyz").write_text("1\nenergy=-1\nH 0 0 0\n")
    with pytest.raises(InputError, match=r"a\.xyz: elements names the types of a LAMMPS dump"):
        open_snapshots(tmp_path / "a.xyz", elements=["Si", "O"])


def test_a_dump_without_forces_has_no_labels(read):
    with pytest.raises(InputError, match="no energy, forces or stress found"):
        read(dump("id element x y z", "1 Si 0 0 0"))
