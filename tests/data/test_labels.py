"""Energies, forces and stress out of files by whatever name and in whatever unit."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian
from ase.io import write

from equitensor.data import open_snapshots
from equitensor.errors import InputError

FORCES = np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])
VOIGT_FREE = "1 2 3 2 4 5 3 5 6"
TENSOR = np.array([[1, 2, 3], [2, 4, 5], [3, 5, 6.0]])


def frame(info="", column="", values=None, lattice=True, symbols=("H", "O")):
    """One extended-XYZ frame of two atoms in a 4 Angstrom cell."""
    cell = 'Lattice="4 0 0 0 4 0 0 0 4" pbc="T T T" ' if lattice else 'pbc="F F F" '
    properties = "species:S:1:pos:R:3" + (f":{column}:R:3" if column else "")
    lines = ["2", f"{cell}Properties={properties} {info}"]
    for i, symbol in enumerate(symbols):
        extra = "" if not column else " ".join(map(str, (FORCES if values is None else values)[i]))
        lines.append(f"{symbol} {float(i)} 0.0 0.0 {extra}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def read(tmp_path):
    def reader(*frames, **options):
        path = tmp_path / "data.xyz"
        path.write_text("".join(frames))
        return open_snapshots(path, **options)

    return reader


@pytest.mark.parametrize(
    "key", ["energy", "REF_energy", "Energy", "dft_energy", "free_energy", "DFT_energy", "total_energy", "E"]
)
def test_usual_energy_keys_are_found(read, key):
    assert read(frame(f"{key}=-3.5"))[0].energy == -3.5


@pytest.mark.parametrize("key", ["forces", "REF_forces", "force", "dft_forces", "Forces", "DFT_forces"])
def test_usual_forces_keys_are_found(read, key):
    assert np.allclose(read(frame("energy=1", key))[0].forces, FORCES)


@pytest.mark.parametrize("key", ["stress", "REF_stress", "dft_stress"])
def test_stress_is_read_as_it_stands(read, key):
    assert np.allclose(read(frame(f'energy=1 {key}="{VOIGT_FREE}"'))[0].stress, TENSOR)


@pytest.mark.parametrize("key", ["virial", "REF_virials", "REF_virial", "virials", "dft_virial"])
def test_a_virial_becomes_a_stress(read, key):
    assert np.allclose(read(frame(f'energy=1 {key}="{VOIGT_FREE}"'))[0].stress, -TENSOR / 64)


def test_six_components_are_in_ase_order(read):
    assert np.allclose(read(frame('energy=1 REF_stress="1 4 6 5 3 2"'))[0].stress, TENSOR)


def test_without_a_cell_there_is_no_stress(read):
    assert read(frame(f'energy=1 virial="{VOIGT_FREE}"', lattice=False))[0].stress is None


def test_references_win_over_plain_names_and_named_keys_over_both(read):
    text = frame("energy=1 REF_energy=2 mine=3")
    assert read(text)[0].energy == 2.0
    assert read(text, energy_key="energy")[0].energy == 1.0
    assert read(text, energy_key="mine")[0].energy == 3.0


def test_a_label_can_be_declined(read):
    assert read(frame("energy=1", "forces"), energy_key="none")[0].energy is None


def test_several_keys_in_one_file_are_mentioned(read, caplog):
    read(frame("energy=1"), frame("REF_energy=2"), frame("energy=3"))
    assert "energy (2 frames), REF_energy (1 frames)" in caplog.text


def test_a_named_key_that_is_nowhere_lists_what_is_there(read):
    with pytest.raises(InputError, match=r"data\.xyz: energy_key: no frame has 'E_tot'.*Etot, dipoles \(2, 3\)"):
        read(frame("Etot=1", "dipoles"), energy_key="E_tot")


def test_no_label_at_all_lists_the_keys(read):
    with pytest.raises(InputError, match=r"no energy, forces or stress found.*Etot, f \(2, 3\).*--energy-key"):
        read(frame("Etot=1", "f"))


def test_units_are_converted(read):
    options = {"energy_unit": "Hartree", "length_unit": "Bohr"}
    s = read(frame(f'energy=2 stress="{VOIGT_FREE}"', "forces"), **options)[0]
    assert np.isclose(s.energy, 2 * units.Hartree, rtol=1e-12)
    assert np.allclose(s.pos[1], [units.Bohr, 0, 0]) and np.allclose(s.cell, np.eye(3) * 4 * units.Bohr)
    assert np.allclose(s.forces, FORCES * units.Hartree / units.Bohr, rtol=1e-12)
    assert np.allclose(s.stress, TENSOR * units.Hartree / units.Bohr**3, rtol=1e-12)
    s = read(frame(f'energy=2 stress="{VOIGT_FREE}"'), energy_unit="kcal/mol", stress_unit="GPa")[0]
    assert np.isclose(s.energy, 2 * 0.0433641, rtol=1e-6) and np.allclose(s.stress, TENSOR * units.GPa)
    s = read(frame("energy=2", "forces"), energy_unit="kJ/mol", forces_unit="eV/Angstrom")[0]
    assert np.isclose(s.energy, 2 * units.kJ / units.mol) and np.allclose(s.forces, FORCES)
    s = read(frame("energy=2", "gradient"), forces_key="gradient", energy_unit="Ry")[0]
    assert np.allclose(s.forces, -FORCES * units.Rydberg)


@pytest.mark.parametrize("name", ["energy_unit", "length_unit", "forces_unit", "stress_unit"])
def test_an_unknown_unit_is_named(read, name):
    with pytest.raises(InputError, match=f"{name}.*parsec"):
        read(frame("energy=2"), **{name: "parsec"})


def test_weight_config_type_and_group_are_read(read):
    s = read(frame("energy=1 config_weight=0.25 config_type=liquid run=7"), group_key="run")[0]
    assert (s.weight, s.config_type, s.group) == (0.25, "liquid", "7")
    with pytest.raises(InputError, match="frame 0: weight = -1 is not a weight"):
        read(frame("energy=1 weight=-1"))


def test_missing_labels_are_absent(read):
    snapshots = read(frame("energy=1", "forces"), frame("energy=2"), frame("", "forces"))
    assert [s.energy for s in snapshots] == [1.0, 2.0, None]
    assert [s.forces is None for s in snapshots] == [False, True, False]


def test_atoms_held_in_place_stay_marked_in_any_unit(read):
    text = '2\nenergy=1 Properties=species:S:1:pos:R:3:move_mask:L:1 pbc="F F F"\nH 0 0 0 F\nO 1 0 0 T\n'
    s = read(text, length_unit="Bohr")[0]
    assert s.fixed.tolist() == [True, False] and np.isclose(s.pos[1, 0], units.Bohr)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (frame("energy=nan"), "frame 1: the energy is nan"),
        (
            frame("energy=1", "forces", [[0, 0, 0], [0, np.nan, 0]]),
            r"frame 1: forces of atom 1 is \[0.0, nan, 0.0\]",
        ),
        (frame("energy=1", "forces", [[np.inf, 0, 0], [0, 0, 0]]), "frame 1: forces of atom 0"),
        (frame("energy=1").replace("O 1.0", "O nan"), "frame 1: pos of atom 1"),
        (frame("energy=1").replace("O 1.0", "O 0.0001"), "frame 1: atoms 0 and 1 are in the same place"),
        (frame("energy=1").replace("O 1.0", "O 4.0"), "frame 1: atoms 0 and 1 .* periodic"),
        (frame("energy=1", symbols=("H", "Qq")), "frame 1: unknown element or key 'Qq'"),
        (frame("energy=1", symbols=("H", "X")), "frame 1: atom 1 has atomic number 0"),
        (frame("energy=high"), "frame 1: energy = 'high' is not a number"),
        (frame("energy=1 REF_stress=3"), r"frame 1: REF_stress has shape \(\)"),
        (frame("energy=1")[:-12] + "\n" + frame("energy=1"), "frame 1: ASE cannot read it"),
        (frame('energy=1 REF_stress="1 9 9 0 1 9 0 0 1"'), "frame 1: REF_stress is not a symmetric"),
    ],
)
def test_a_bad_frame_is_named(read, bad, message):
    with pytest.raises(InputError, match=r"data\.xyz, " + message):
        read(frame("energy=1"), bad)


@pytest.mark.parametrize("suffix", ["traj", "db", "json", "extxyz"])
def test_other_files_of_ase_keep_labels_and_constraints(tmp_path, suffix):
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.set_constraint([FixAtoms([0]), FixCartesian(2)])
    atoms.calc = EMT()
    path = tmp_path / f"a.{suffix}"
    energy, stress = atoms.get_potential_energy(), atoms.get_stress(voigt=False)
    forces = atoms.get_forces(apply_constraint=False)
    write(path, [atoms, atoms])
    first = open_snapshots(path)[1]
    assert np.isclose(first.energy, energy) and np.allclose(first.stress, stress, atol=1e-8)
    assert np.allclose(first.forces, forces, atol=1e-7)
    assert first.fixed.tolist() == [True, False, True, False]
