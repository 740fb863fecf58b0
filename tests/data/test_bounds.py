"""Labels and lengths in a wrong unit or with a wrong sign break physical bounds; right ones never do."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from equitensor.data import Memory, coverage, open_snapshots
from equitensor.data.bounds import all_electron_energy
from equitensor.data.labels import LabelReader
from equitensor.graph import Structure
from equitensor.graph.units import energy_factor, forces_factor, stress_factor

KCAL, BOHR, KBAR, GPA = 23.0605, 0.529177, 1602.18, 160.218


def scaled(s, energy=1.0, forces=1.0, stress=1.0, length=1.0):
    return s.replace(
        energy=s.energy * energy,
        forces=s.forces * forces,
        stress=None if s.stress is None else s.stress * stress,
        pos=s.pos * length,
        cell=s.cell * length,
    )


def warnings(structures, **factors):
    return coverage(Memory([scaled(s, **factors) for s in structures], name="twin")).warnings


@pytest.fixture(scope="module")
def molecules(alanine_data):
    return open_snapshots(alanine_data / "train.xyz")[::9]


@pytest.fixture(scope="module")
def crystals():
    """Copper, rattled and strained, labelled by an effective medium potential."""
    frames, rng = [], np.random.default_rng(0)
    for _ in range(16):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.05, rng=rng)
        atoms.calc = EMT()
        labels = {"forces": atoms.get_forces(), "stress": atoms.get_stress(voigt=False)}
        frames.append(Structure.from_ase(atoms, energy=atoms.get_potential_energy(), **labels))
    return frames


def test_right_labels_are_silent(molecules, crystals):
    assert warnings(molecules) == []
    assert warnings(crystals) == []


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"forces": -1}, "forces_unit: -eV/Angstrom"),
        ({"forces": KCAL, "energy": KCAL}, "forces_unit: kcal/mol/Angstrom would fit"),
        ({"forces": BOHR / 27.2114, "energy": 1 / 27.2114}, "forces_unit: Hartree/Bohr would fit"),
        ({"forces": -BOHR / 27.2114, "energy": 1 / 27.2114}, "forces_unit: -Hartree/Bohr would fit"),
        ({"length": 1 / BOHR}, "length_unit: Bohr"),
        ({"length": BOHR}, "if length_unit is set, leave it out"),
        ({"length": 0.1}, "length_unit: nm"),
        ({"energy": KCAL}, "energies and forces disagree"),
    ],
)
def test_molecules_in_other_units_are_told(molecules, factors, message):
    messages = warnings(molecules, **factors)
    assert any(message in warning for warning in messages), messages
    assert all(warning.startswith("twin: ") for warning in messages)


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0, 1e4])
@pytest.mark.parametrize("seed", range(4))
def test_no_unit_makes_forces_of_noise(molecules, size, seed):
    rng = np.random.default_rng(seed)
    noise = [s.replace(forces=size * rng.normal(size=s.forces.shape)) for s in molecules]
    messages = [warning for warning in warnings(noise) if "bonds of hydrogen" in warning]
    assert len(messages) == 1 or size in (1.0, 100.0)  # which happen to look like right ones for some seeds
    assert all("+-" in warning and "no unit alone" in warning and "forces_unit" not in warning for warning in messages)


def test_a_right_constant_in_no_known_unit_names_none(molecules):
    (message,) = (w for w in warnings(molecules, forces=1e6, energy=1e6) if "bonds of hydrogen" in w)
    assert "no unit alone" in message


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (KBAR, "stress has another unit"),
        (GPA, "stress has another unit"),
        (1 / KBAR, "stress has another unit"),
        (1 / GPA, "stress has another unit"),
        (-1.0, "stress has the wrong sign"),
        (-KBAR, "stress has another unit"),
    ],
)
def test_stress_is_compared_with_the_energies_of_other_cells(crystals, factor, message):
    (warning,) = warnings(crystals, stress=factor)
    assert message in warning and "stress_unit" in warning


def test_gradients_of_crystals_are_told(crystals):
    one_cell = [
        s.replace(cell=crystals[0].cell, pos=s.pos @ np.linalg.solve(s.cell, crystals[0].cell)) for s in crystals
    ]
    for s, atoms in zip(one_cell, (s.to_ase() for s in one_cell), strict=True):
        atoms.calc = EMT()
        s.forces[:], s.stress[:] = atoms.get_forces(), atoms.get_stress(voigt=False)
        object.__setattr__(s, "energy", atoms.get_potential_energy())
    assert warnings(one_cell) == []
    assert any("forces point uphill" in warning for warning in warnings(one_cell, forces=-1))
    assert any("energies have the wrong sign" in warning for warning in warnings(one_cell, energy=-1))


def test_energies_below_those_of_all_electrons_name_the_frame_and_the_unit():
    z = np.array([6, 1, 1, 1, 1])
    assert all_electron_energy(z) == pytest.approx(-40.2 * 27.2114, rel=0.02)
    assert all_electron_energy([92]) == pytest.approx(-25664 * 27.2114, rel=0.03)  # Hartree-Fock
    pos = np.array([[0, 0, 0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [0.63, -0.63, -0.63]])

    def methane(energy):
        labels = {"energy": energy, "source": "a.xyz, frame 7"}
        return Memory([Structure(z, pos, np.zeros((3, 3)), np.zeros(3, bool), **labels)], name="a.xyz")

    hartree = -40.52
    assert coverage(methane(hartree * 27.2114)).warnings == []
    (warning,) = coverage(methane(hartree * 627.509)).warnings
    assert "a.xyz, frame 7: -5085.3" in warning and "energy_unit: kcal/mol" in warning
    (warning,) = coverage(methane(hartree)).warnings
    assert "energy_unit: Hartree" in warning
    (warning,) = coverage(methane(-hartree * 27.2114)).warnings
    assert "energy_unit: -eV" in warning


def test_atoms_that_clash_are_named(molecules):
    clash = molecules[1].replace(pos=molecules[1].pos.copy(), source="a.xyz, frame 1")
    clash.pos[0] = clash.pos[1] + [0, 0, 0.3]
    messages = warnings([molecules[0], clash, *molecules[2:6]])
    assert any("a.xyz, frame 1: atoms 0 and 1 are 0.3 Angstrom apart" in warning for warning in messages)


def test_a_scan_of_a_dissociation_is_silent():
    def dimer(distance):
        pos = np.array([[0, 0, 0], [0, 0, distance]])
        return Structure(np.array([7, 7]), pos, np.zeros((3, 3)), np.zeros(3, bool), energy=-2970.0)

    assert coverage(Memory(map(dimer, np.linspace(1.0, 6.0, 30)))).warnings == []


@pytest.mark.parametrize(
    "path",
    [
        *("rmd17/aspirin_train_01.xyz", "acac/test_MD_600K.xyz", "acac/isolated_atoms.xyz", "pubchemqcr/Data06.lmdb"),
        *("oc20/s2ef_lmdb/val", "oc20/raw", "oc20/original/s2ef_val_20", "oc20/original/is2re_val_20"),
    ],
)
def test_real_data_are_silent(shared_data, path):
    assert coverage(open_snapshots(shared_data / path)).warnings == []


@pytest.mark.parametrize(
    ("path", "step"), [("acac/train_300K.xyz", 60), ("acac/train_300K.xyz", 97), ("rmd17/aspirin_train_01.xyz", 149)]
)
def test_a_few_frames_far_from_each_other_are_silent(shared_data, path, step):
    assert warnings(open_snapshots(shared_data / path)[::step]) == []


def test_a_molecule_that_turns_in_its_box_is_silent(molecules):
    rng = np.random.default_rng(0)
    turned, box = [], {"cell": 12.0 * np.eye(3), "pbc": np.ones(3, bool)}
    for s in molecules:
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        rotation *= np.sign(np.linalg.det(rotation))
        turned.append(s.replace(pos=s.pos @ rotation, forces=s.forces @ rotation, **box))
    assert warnings(turned) == []


@pytest.mark.parametrize("factor", [KBAR, GPA, 1 / KBAR])
def test_stress_of_unrelated_crystals_is_compared_with_their_forces(shared_data, factor):
    crystals = open_snapshots(shared_data / "periodic" / "mptrj-random-1k.xyz")
    (warning,) = warnings(crystals[::4], stress=factor)
    assert "stress is probably in another unit" in warning


def test_a_minus_before_a_unit_turns_the_sign():
    assert energy_factor("-eV") == -1 and forces_factor("-eV/Angstrom") == -1
    assert stress_factor("-kbar") == -stress_factor("kbar") == pytest.approx(-1 / KBAR, rel=1e-5)
    assert stress_factor("-eV/Angstrom^3") == -1


def test_a_minus_turns_the_sign_of_one_label_and_of_virials():
    values = {"energy": 2.0, "forces": [[1.0, 0, 0]], "virial": np.eye(3)}
    right = LabelReader().read(values, 1, 10.0, "a")
    energy = LabelReader(energy_unit="-eV").read(values, 1, 10.0, "a")
    stress = LabelReader(stress_unit="-eV/Angstrom^3").read(values, 1, 10.0, "a")
    assert (right["energy"], energy["energy"], stress["energy"]) == (2.0, -2.0, 2.0)
    assert right["forces"][0, 0] == energy["forces"][0, 0] == 1.0
    assert right["stress"][0, 0] == energy["stress"][0, 0] == -0.1 == -stress["stress"][0, 0]
