"""Energies, forces and stress out of files by whatever name and in whatever unit."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian
from ase.io import write
from rich.console import Console

from equitensor.data import coverage, coverage_table, open_snapshots
from equitensor.errors import InputError, NoLabelsError

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
    for bad in ("-1", "high", "T"):
        with pytest.raises(InputError, match=r"frame 0: config_weight = .* is not a weight"):
            read(frame(f"energy=1 config_weight={bad}"))


def test_a_molar_mass_is_no_weight_unless_its_key_is_named(read, caplog):
    text = frame("energy=1 weight=89.09")
    assert read(text)[0].weight == 1.0
    assert "weight_key=weight reads it" in caplog.text
    assert read(text, weight_key="weight")[0].weight == 89.09


def test_weights_that_differ_from_one_are_shown(read):
    covered = coverage(read(frame("energy=1 config_weight=0.25"), frame("energy=2"), frame("energy=3 config_weight=4")))
    assert covered.weights_range == (0.25, 4.0) and covered.weighted == 2
    console = Console(width=200)
    with console.capture() as shown:
        console.print(coverage_table([covered]))
    assert "0.250 to 4.000 (2 differ from 1)" in shown.get()
    assert coverage(read(frame("energy=1"))).weights_range is None


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


def columns(info, **named):
    """A frame with several columns of three numbers, all of them a multiple of FORCES."""
    properties = "species:S:1:pos:R:3" + "".join(f":{name}:R:3" for name in named)
    lines = ["2", f'Lattice="4 0 0 0 4 0 0 0 4" pbc="T T T" Properties={properties} {info}']
    for i, symbol in enumerate("HO"):
        values = [str(factor * x) for factor in named.values() for x in FORCES[i]]
        lines.append(f"{symbol} {float(i)} 0.0 0.0 {' '.join(values)}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("key", ["DFT_force", "ref_force", "vasp_force", "REF_Force", "FORCES", "forces-qm"])
def test_forces_are_found_whatever_their_case_and_plural(read, key):
    assert np.allclose(read(frame("energy=1", key))[0].forces, FORCES)


@pytest.mark.parametrize("word", ["energy", "E", "REF_energy"])
def test_a_bare_word_is_no_energy(read, caplog, word):
    first = read(columns(f"{word}", forces=1.0))[0]
    assert first.energy is None
    assert f"{word} has no numeric value" in caplog.text
    with pytest.raises(InputError, match=f"frame 0: {word} = .*True.* is not a number"):
        read(columns(f"{word}", forces=1.0), energy_key=word)


@pytest.mark.parametrize("value", ["T", '"-3.5 eV"'])
def test_what_is_no_number_is_no_label(read, value):
    with pytest.raises(InputError, match="is not a number"):
        read(frame(f"mine={value}"), energy_key="mine")


@pytest.mark.parametrize("word", ["stress", "virial", "forces"])
def test_bare_words_of_other_labels_do_no_harm(read, word):
    first = read(frame(f"energy=-2 {word}"))[0]
    assert first.energy == -2.0 and first.stress is None and first.forces is None


def test_labels_of_a_frame_come_from_the_family_of_its_energy(read, caplog):
    text = columns(f'dft_energy=2 stress="{VOIGT_FREE}" dft_virial="{VOIGT_FREE}"', forces=5.0, DFT_force=1.0)
    first = read(text)[0]
    assert first.energy == 2.0 and np.allclose(first.forces, FORCES) and np.allclose(first.stress, -TENSOR / 64)
    assert "forces was read from DFT_force; passed over forces" in caplog.text
    assert "stress was read from dft_virial; passed over stress" in caplog.text
    assert np.allclose(read(text, stress_key="stress")[0].stress, TENSOR)
    assert np.allclose(read(text, forces_key="forces")[0].forces, 5 * FORCES)


def test_an_energy_that_is_named_brings_its_family(read):
    text = columns("energy=1 REF_energy=2 mace_energy=3", forces=1.0, REF_forces=2.0, mace_forces=3.0)
    for key, factor in (("energy", 1.0), ("REF_energy", 2.0), ("mace_energy", 3.0)):
        first = read(text, energy_key=key)[0]
        assert first.energy == factor and np.allclose(first.forces, factor * FORCES)


def test_a_plain_stress_beside_a_reference_energy_is_not_taken(read, caplog):
    text = frame(f'REF_energy=2 stress="{VOIGT_FREE}"', "REF_forces")
    assert read(text)[0].stress is None
    assert "stress not read from stress, because the energy is REF_energy" in caplog.text
    assert "stress_key=stress reads it" in caplog.text
    assert np.allclose(read(text, stress_key="stress")[0].stress, TENSOR)


def test_a_reference_beside_a_plain_energy_is_taken_and_said(read, caplog):
    assert np.allclose(read(frame("energy=2", "DFT_force"))[0].forces, FORCES)
    assert "forces was read from DFT_force beside the energy from energy" in caplog.text


def test_keys_that_agree_are_not_mentioned(read, caplog):
    read(columns(f'energy=1 REF_energy=1 stress="{VOIGT_FREE}"', REF_forces=1.0, forces=1.0))
    assert "passed over" not in caplog.text


def test_a_virial_that_contradicts_the_stress_is_mentioned(read, caplog):
    virial = " ".join(str(-64 * x) for x in TENSOR.ravel())
    read(frame(f'energy=1 stress="{VOIGT_FREE}" virial="{virial}"'))
    assert "passed over" not in caplog.text
    read(frame(f'energy=1 stress="{VOIGT_FREE}" virial="{virial.replace("-", "")}"'))
    assert "stress was read from stress; passed over virial, whose values differ" in caplog.text


def test_unused_columns_and_entries_are_named_where_a_label_is_missing(read, caplog):
    read(columns('energy=1 W="1 2 3 4 5 6" Q="1 2 3" c9="1 0 0 0 1 0 0 0 1"', f=1.0, momenta=2.0))
    assert "no forces in 1 frames, but columns of width 3 that were not used: f; forces_key selects one" in caplog.text
    assert "no stress in 1 frames, but entries of 6 or 9 values that were not used: W, c9; stress_key" in caplog.text


def test_nothing_is_missing_where_all_labels_are_there(read, caplog):
    read(columns(f'energy=1 stress="{VOIGT_FREE}" c9="1 0 0 0 1 0 0 0 1"', forces=1.0, f=1.0))
    read(frame("energy=1 W='1 2 3 4 5 6'", "forces", lattice=False), stress_key="none")
    assert not caplog.text


def test_of_two_spellings_the_one_in_lower_case_is_read(read, caplog):
    assert read(frame("Energy=2 energy=1"))[0].energy == 1.0
    assert "energy was read from energy; passed over Energy" in caplog.text


def test_energies_of_atoms_are_not_the_energy(read):
    text = '2\nenergy=-3 Properties=species:S:1:pos:R:3:energies:R:1 pbc="F F F"\nH 0 0 0 -1\nO 1 0 0 -2\n'
    assert read(text)[0].energy == -3.0
    assert read(text.replace("2\nenergy=-3", "1\nenergy=-3").replace("O 1 0 0 -2\n", ""))[0].energy == -3.0


@pytest.mark.parametrize("key", ["gradient", "dft_total_gradient", "energy_gradient", "REF_grad"])
def test_gradients_are_forces_with_the_sign_changed(read, caplog, key):
    assert np.allclose(read(frame("energy=1", key))[0].forces, -FORCES)
    assert f"forces were read from {key} with the sign changed" in caplog.text


def test_a_gradient_is_not_turned_twice(read):
    with pytest.raises(InputError, match=r"frame 0: dft_gradient is a gradient by its name.*leave out the minus"):
        read(frame("energy=1", "dft_gradient"), forces_unit="-eV/Angstrom")
    assert np.allclose(read(frame("energy=1", "forces"), forces_unit="-eV/Angstrom")[0].forces, -FORCES)


@pytest.mark.parametrize(("key", "sign"), [("forces_upgraded", 1), ("forcesGrad", -1), ("my-gradients", -1)])
def test_only_grad_as_a_word_changes_the_sign(read, key, sign):
    assert np.allclose(read(frame("energy=1", key), forces_key=key)[0].forces, sign * FORCES)


def test_a_key_that_is_stress_and_virial_is_refused(read):
    with pytest.raises(InputError, match="virial_stress may be a stress or a virial"):
        read(frame(f'energy=1 virial_stress="{VOIGT_FREE}"'), stress_key="virial_stress")


def test_the_free_energy_goes_with_the_forces(read, caplog):
    text = frame("energy=-3.5 free_energy=-3.54", "forces")
    assert read(text)[0].energy == -3.54
    assert "the energy that was read is free_energy" in caplog.text and "energy_key=energy reads that" in caplog.text
    caplog.clear()
    assert read(text, energy_key="energy")[0].energy == -3.5
    assert read(frame("energy=-3.5 free_energy=-3.5"))[0].energy == -3.5
    assert not [r for r in caplog.records if "free_energy" in r.message]


def test_labels_that_are_zero_throughout_are_none(read, caplog):
    zeros = np.zeros((2, 3))
    data = read(frame("energy=0", "forces"), frame("energy=0.0", "forces", zeros))
    assert [s.energy for s in data] == [None, None] and np.allclose(data[0].forces, FORCES)
    assert "energy is zero in all 2 frames" in caplog.text and "energy_key=NAME" in caplog.text
    data = read(frame('energy=1 stress="0 0 0 0 0 0 0 0 0"', "forces", zeros), frame("energy=0", "forces", zeros))
    assert [s.energy for s in data] == [1.0, 0.0]
    assert all(s.forces is None and s.stress is None for s in data)
    kept = read(frame("energy=0", "forces", zeros), energy_key="energy", forces_key="forces")
    assert kept[0].energy == 0.0 and np.array_equal(kept[0].forces, zeros)


def test_a_file_of_zeros_has_no_labels(read):
    with pytest.raises(NoLabelsError, match=r"no energy, forces or stress found.* energy, forces \(2, 3\)"):
        read(frame("energy=0", "forces", np.zeros((2, 3))))


def test_a_single_atom_may_have_neither_energy_nor_force(read):
    atom = '1\nenergy=0.0 Properties=species:S:1:pos:R:3:forces:R:3 pbc="F F F"\nH 0 0 0 0 0 0\n'
    first = read(atom, atom)[0]
    assert first.energy == 0.0 and np.array_equal(first.forces, np.zeros((1, 3)))
