"""Comment lines of XYZ files: what programs write in words, and key=value pairs in other people's spelling."""

import numpy as np
import pytest
from ase import units

from equitensor.data import open_snapshots
from equitensor.errors import InputError

WATER = "O 0.0 0.0 0.119\nH 0.0 0.763 -0.477\nH 0.0 -0.763 -0.477\n"


@pytest.fixture
def read(tmp_path):
    def reader(*comments, atoms=WATER, **options):
        path = tmp_path / "water.xyz"
        path.write_text("".join(f"3\n{comment}\n{atoms}" for comment in comments))
        return open_snapshots(path, **options)

    return reader


@pytest.mark.parametrize(
    ("comment", "energy"),
    [
        ("Coordinates from ORCA-job h2o E -76.323145", -76.323145),
        ("Coordinates from ORCA-job E E -76.3", -76.3),
        (" energy: -5.070544440 gnorm: 0.000386 xtb: 6.6.1 (8d0f1dd)", -5.07054444),
        ("        -5.07054444", -5.07054444),
        ("  -5.0705  !CONF1", -5.0705),
        (" i =        0, time =        0.000, E =       -17.1617427", -17.1617427),
        (" i =        3, E =       -17.1617427", -17.1617427),
        ("Iteration 4 Energy -76.40125", -76.40125),
    ],
)
def test_energies_in_words_of_programs_are_in_hartree(read, comment, energy):
    assert np.isclose(read(comment)[0].energy, energy * units.Hartree, rtol=1e-12)
    assert read(comment, energy_unit="eV", forces_unit="eV/Angstrom")[0].energy == energy
    assert np.isclose(read(comment, energy_unit="kcal/mol")[0].energy, energy * units.kcal / units.mol, rtol=1e-12)


def test_of_a_bare_number_the_unit_is_said(read, caplog):
    read("-5.07054444", "-5.0601")
    assert "2 comment lines are a bare number, as CREST writes it, read in Hartree (energy_unit" in caplog.text


@pytest.mark.parametrize(
    "comment", ["12", "0.5", "frame 3", "Coordinates from ORCA-job h2o", "energy -76.3", "E -76.3"]
)
def test_other_words_are_no_energy(read, comment):
    with pytest.raises(InputError, match="no energy, forces or stress found"):
        read(comment)


def test_energies_in_words_do_not_change_the_unit_of_those_in_keys(read):
    data = read("Coordinates from ORCA-job h2o E -76.3", "energy=-2076.5")
    assert np.isclose(data[0].energy, -76.3 * units.Hartree) and data[1].energy == -2076.5


def test_lower_case_keeps_cell_forces_and_virial(tmp_path):
    path = tmp_path / "train.xyz"
    path.write_text(
        '2\nenergy=-3.5 lattice="4 0 0 1 5 0 0 0 6" virial="1 2 3 2 4 5 3 5 6" PBC="T T F" '
        "properties=species:s:1:POS:r:3:force:R:3 config_type=a\nSi 0 0 0 1 2 3\nO 1 1 1 -1 -2 -3\n"
        '2\nenergy=-3.5 lattice="4 0 0 1 5 0 0 0 6" virial="1 2 3 2 4 5 3 5 6" pbc="T T T" '
        "properties=species:S:1:pos:R:3:force:R:3\nSi 0 0 0 1 2 3\nO 1 1 1 -1 -2 -3\n"
    )
    first, second = open_snapshots(path)
    assert first.cell.tolist() == [[4, 0, 0], [1, 5, 0], [0, 0, 6]] and first.pbc.tolist() == [True, True, False]
    assert first.forces.tolist() == [[1, 2, 3], [-1, -2, -3]] and first.pos[1].tolist() == [1, 1, 1]
    assert first.stress is None and second.pbc.all()
    assert np.allclose(second.stress, -np.array([[1, 2, 3], [2, 4, 5], [3, 5, 6]]) / 120)


@pytest.mark.parametrize(("key", "factor"), [("stress", 1.0), ("virial", -1 / 64)])
def test_six_numbers_are_read_under_plain_names(tmp_path, key, factor):
    path = tmp_path / "a.xyz"
    path.write_text(f'1\nenergy=-3 Lattice="4 0 0 0 4 0 0 0 4" {key}="1 2 3 4 5 6"\nSi 0 0 0\n')
    assert np.allclose(open_snapshots(path)[0].stress, factor * np.array([[1, 6, 5], [6, 2, 4], [5, 4, 3]]))


def test_a_cell_of_other_than_nine_numbers_is_named(read):
    with pytest.raises(InputError, match="frame 0: ASE cannot read it: Lattice has 3 values in place of nine"):
        read('energy=-1 lattice="4 4 4"')


def test_a_cell_under_another_name_is_mentioned(read, caplog):
    assert not read('energy=-1 cell="9 0 0 0 9 0 0 0 9"')[0].pbc.any()
    assert "cell is not read as the cell, so these frames are not periodic; call it Lattice" in caplog.text


def test_an_empty_value_is_not_a_number(read):
    with pytest.raises(InputError, match=r"frame 0: energy = '[^\N{SECTION SIGN}]*' is not a number"):
        read('energy="" stress=""')


def test_columns_that_no_one_names_are_mentioned(read, caplog):
    read("-76.3", atoms="O 0 0 0.1 0 0 1\nH 0 0.7 -0.4 0 0 -1\nH 0 -0.7 -0.4 0 0 0\n")
    assert "the atoms have 7 columns, but only element and position are read" in caplog.text
