"""LAMMPS with pair_style equitensor gives the numbers of the calculator, on any number of ranks."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.md.verlet import VelocityVerlet
from lammps_cases import ENERGY, alloy, parsed, runner, shown

from equitensor.errors import InputError
from equitensor.interfaces import Calculator
from equitensor.interfaces.lammps import inputs, program
from equitensor.interfaces.lammps.check import BOUNDS, differences, of_calculator, of_lammps


def skewed():
    atoms = alloy((3, 2, 2), seed=1)
    strain = np.array([[1.0, 0.9, -0.7], [0.1, 1.1, 0.8], [0.0, -0.2, 0.95]])
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    atoms.positions += [30, -7, 11]  # far outside the cell
    return atoms


def slab(pbc=True):
    atoms = fcc111("Al", (3, 3, 3), vacuum=25.0)
    atoms.pbc = pbc
    atoms.rattle(0.1, seed=2)
    return atoms


def far_apart():
    """A pair, and an atom that has no neighbour."""
    return Atoms("COH", [[1, 1, 1], [2.1, 1.2, 1], [12, 13, 14]], cell=[25, 26, 27], pbc=True)


def in_a_box():
    atoms = molecule("CH3OH")
    atoms.center(vacuum=12)
    atoms.pbc = True
    return atoms


STRUCTURES = {
    "molecule in a box": in_a_box,
    "molecule": lambda: molecule("CH3CH2OH"),
    "crystal": lambda: alloy((5, 5, 10)),
    "one atom": lambda: bulk("Al"),
    "skewed": skewed,
    "slab": slab,
    "slab without a third period": lambda: slab((True, True, False)),
    "isolated atom": far_apart,
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_energy_forces_and_stress(lammps, potential, name):
    atoms = STRUCTURES[name]()
    expected = of_calculator(potential, atoms)
    if name == "one atom":  # no force, by symmetry: compare on the scale of an eV/Angstrom
        expected = expected._replace(forces=expected.forces + 1)
    for ranks in (1, 2, 4):
        first = f"processors 1 1 {ranks}\n" if name == "slab" else ""  # the last rank has vacuum only
        values = of_lammps(potential, atoms, ranks, first=first)
        if name == "one atom":
            values = values._replace(forces=values.forces + 1)
        lines = differences(expected, values, ranks)
        assert len(lines) == 3 if atoms.pbc.all() else 2
        assert all(line.passed for line in lines), lines


def test_single_precision(lammps, potential):
    atoms = alloy((3, 3, 3))
    exact, single = of_lammps(potential, atoms), of_lammps(potential, atoms, ranks=2, dtype="float32")
    scale = np.sqrt(np.mean(exact.forces**2))
    assert abs(single.energy - exact.energy) < 1e-6 * len(atoms)
    assert 1e-9 * scale < abs(single.forces - exact.forces).max() < 3e-5 * scale


def test_the_differences_are_seen(lammps, potential):
    atoms = alloy((2, 2, 2))
    values = of_lammps(potential, atoms)
    broken = {
        "energy": values._replace(energy=values.energy * (1 + 3e-10)),
        "forces": values._replace(forces=values.forces * (1 + 1e-7)),
        "stress": values._replace(stress=values.stress.T + np.eye(3) * 1e-7),
    }
    for name, wrong in broken.items():
        assert [line.quantity for line in differences(values, wrong, 1) if not line.passed] == [name]
    assert set(BOUNDS) == set(broken)


def test_the_trajectory_of_ase(lammps, trained_file, tmp_path):
    atoms = molecule("CH3CH2OH")
    rng = np.random.default_rng(3)
    atoms.set_velocities(0.02 * rng.standard_normal((len(atoms), 3)))
    box = inputs.box(atoms)
    inputs.write_data(tmp_path / "atoms.data", box)
    script = inputs.setup(box, "atoms.data", trained_file, "float64") + (
        "timestep 0.0005\nfix 1 all nve\ndump 1 all custom 100 frames xu yu zu\n"
        "dump_modify 1 sort id format float %.17g\nrun 100\n"
    )
    program.run(script, tmp_path, ranks=2)
    start, end = (rows(frame) for frame in (tmp_path / "frames").read_text().split("ITEM: TIMESTEP")[1:])
    atoms.calc = Calculator(trained_file, device="cpu", dtype="float64")
    before = atoms.positions.copy()
    VelocityVerlet(atoms, 0.5 * units.fs).run(100)
    moved = box.prism.vector_to_ase(end - start)
    assert abs(moved - (atoms.positions - before)).max() < 1e-6 < 0.1 < abs(moved).max()


def rows(frame):
    """The table of one frame of a dump."""
    return np.array([line.split() for line in frame.splitlines()[9:]], dtype=float)


@pytest.fixture
def run(lammps, potential, tmp_path):
    return runner(potential, tmp_path)


def test_per_atom_values_sum_to_those_of_all(run, potential):
    printed = run(
        "compute e all pe/atom\ncompute s all stress/atom NULL virial\ncompute E all reduce sum c_e\n"
        "compute S all reduce sum c_s[1] c_s[2] c_s[3] c_s[4] c_s[5] c_s[6]\n"
        "dump 1 all custom 1 energies c_e\ndump_modify 1 sort id format float %.15g\n"
        "thermo_style custom step pe c_E pxx pyy pzz pxy pxz pyz c_S[*] vol\nrun 0\n"
        + shown("found", "pe", "c_E")
        + shown("P", *(f"{name}*vol" for name in ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")))
        + shown("S", *(f"c_S[{k}]" for k in range(1, 7)))
    )
    total, summed = parsed(printed)
    assert summed == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(parsed(printed, "S"), -parsed(printed, "P"), rtol=1e-9)


def test_energies_of_atoms_are_those_of_the_calculator(run, potential, tmp_path):
    atoms = alloy((3, 3, 3))
    atoms.calc = Calculator(potential, device="cpu", dtype="float64", backend="torch")
    run("compute e all pe/atom\ndump 1 all custom 1 energies c_e\ndump_modify 1 sort id format float %.15g\nrun 0\n")
    printed = np.loadtxt(tmp_path / "energies", skiprows=9)
    np.testing.assert_allclose(printed, atoms.get_potential_energies(), rtol=1e-10)


def test_real_units(run):
    lines = "compute s all stress/atom NULL virial\ncompute S all reduce sum c_s[4]\n"
    lines += "thermo_style custom step pe press c_S\nrun 0\n" + shown("found", "pe", "press", "c_S")
    metal, real = parsed(run(lines)), parsed(run(lines, units="real"))
    per_atmosphere = 1 / 1.01325  # LAMMPS's constants of the two sets of units agree to seven digits
    np.testing.assert_allclose(real, metal * [23.060549, per_atmosphere, per_atmosphere], rtol=3e-7)


@pytest.mark.parametrize(
    "other, coefficients",
    [
        ("zbl 3.0 4.0", ["1 1 zbl 13 13", "1 2 zbl 13 29", "2 2 zbl 29 29"]),
        ("dispersion/d3 bj pbe 12.0 8.0", ["* * dispersion/d3 Al Cu"]),  # "zero" would be taken for pair_style zero
    ],
)
def test_sums_with_other_styles(run, other, coefficients):
    alone = parsed(run(ENERGY))
    word = other.split()[0]
    rest = f"pair_style {other}\n" + "".join(f"pair_coeff {line.replace(word + ' ', '')}\n" for line in coefficients)
    both = f"pair_style hybrid/overlay equitensor float64 {other}\npair_coeff * * equitensor {{model}} {{types}}\n"
    both += "".join(f"pair_coeff {line}\n" for line in coefficients)
    forces = "fix 1 all nve\nrun 20\n" + ENERGY  # the exchange of a substyle has room for what it sends
    np.testing.assert_allclose(parsed(run(ENERGY, pair=both)), alone + parsed(run(ENERGY, pair=rest)), rtol=1e-12)
    np.testing.assert_allclose(parsed(run(forces, pair=both, ranks=1)), parsed(run(forces, pair=both)), rtol=1e-9)


def test_threads_of_a_rank(run):
    lines = "fix 1 all nve\nrun 10\n" + ENERGY
    np.testing.assert_allclose(parsed(run(lines, threads=3)), parsed(run(lines)), rtol=1e-12)


def test_atoms_without_an_element_take_no_part(run):
    atoms = alloy((3, 3, 3))
    pair = "pair_style hybrid/overlay equitensor float64 zbl 0.5 0.6\npair_coeff * * equitensor {model} Al NULL\n"
    pair += "pair_coeff 1 1 zbl 13 13\npair_coeff 1 2 zbl 13 29\npair_coeff 2 2 zbl 29 29\n"  # too short to be felt
    without = parsed(run(ENERGY, atoms[atoms.symbols == "Al"]))
    np.testing.assert_allclose(parsed(run(ENERGY, pair=pair)), without, rtol=1e-12)


@pytest.mark.parametrize(
    "ranks, grid, after",
    [
        (3, "processors 3 1 1\n", ""),
        (5, "processors 1 5 1\n", ""),  # parts thinner than the cutoff: ghosts from the rank after the next
        (8, "processors 2 2 2\n", ""),
        (4, "", "comm_style tiled\nbalance 1.0 rcb\n"),
    ],
)
def test_any_division_into_parts(run, ranks, grid, after):
    """Rows of periodic images are those of their origins, whatever the order of exchanges."""
    lines = "fix 1 all nve\nrun 10\n" + ENERGY
    np.testing.assert_allclose(
        parsed(run(after + lines, ranks=ranks, first=grid)), parsed(run(lines, ranks=1)), rtol=1e-12
    )


@pytest.mark.parametrize("ranks", [2, 4])
def test_several_images_of_an_atom(lammps, potential, ranks):
    """A cell thinner than the cutoff: atoms of other ranks and of one's own have several images on each rank."""
    atoms = alloy((1, 1, 8), seed=4)
    assert atoms.cell.lengths()[0] < 4.0
    expected = of_calculator(potential, atoms)
    values = of_lammps(potential, atoms, ranks, first=f"processors 1 1 {ranks}\n")
    lines = differences(expected, values, ranks)
    assert len(lines) == 3 and all(line.passed for line in lines), lines


def test_virials_of_atoms_on_any_number_of_ranks(run, tmp_path):
    """Those of images of other ranks' atoms, too, come to their owners."""
    lines = "compute e all pe/atom\ncompute s all stress/atom NULL virial\n"
    lines += f"dump 1 all custom 1 values c_e {' '.join(f'c_s[{k}]' for k in range(1, 7))} fx fy fz\n"
    lines += "dump_modify 1 sort id format float %.15g\nrun 0\n"
    virials = []
    for ranks in (1, 4):
        run(lines, alloy((1, 2, 6), seed=5), ranks=ranks)
        virials.append(np.loadtxt(tmp_path / "values", skiprows=9))
    np.testing.assert_allclose(virials[1], virials[0], rtol=0, atol=1e-11 * abs(virials[0]).max())


def test_restart_continues_the_run(run, potential):
    """At constant pressure, in a cell that shears, with the style of the restart file."""
    steps = "fix 1 all npt temp 300 300 0.1 tri 0 0 1.0\nthermo_modify norm no\nrun {}\n"
    start = "velocity all create 300 7\nchange_box all triclinic\ntimestep 0.001\n"
    end = shown("found", "pe", "vol", "xy")
    whole = parsed(run(start + steps.format(20) + "run 20\n" + end))
    run(start + steps.format(20) + "write_restart half\n")
    again = f"clear\nread_restart half\ntimestep 0.001\npair_coeff * * {potential} Al Cu\n"
    restarted = parsed(run(again + steps.format(20) + end))
    np.testing.assert_allclose(restarted, whole, rtol=1e-8, atol=1e-9)
    with pytest.raises(InputError, match="coeff"):
        run("clear\nread_restart half\nrun 0\n")


def test_restart_of_hybrid_styles(run, potential):
    styles = "pair_style hybrid/overlay equitensor float64 zbl 3.0 4.0\n"
    coefficients = f"pair_coeff * * equitensor {potential} Al Cu\npair_coeff 1 1 zbl 13 13\n"
    coefficients += "pair_coeff 1 2 zbl 13 29\npair_coeff 2 2 zbl 29 29\n"
    alone = parsed(run(ENERGY + "write_restart there\n", pair=styles + coefficients))
    restarted = parsed(run("clear\nread_restart there\n" + coefficients + ENERGY))
    np.testing.assert_allclose(restarted, alone, rtol=1e-13)  # as float64: the style's setting is kept


def test_minimization(run):
    before, after = shown("before", "pe", "fnorm"), shown("found", "pe", "fnorm")
    printed = run(f"run 0\n{before}minimize 0 1e-3 200 1000\n{after}")
    (before, rough), (after, smooth) = parsed(printed, "before"), parsed(printed)
    assert after < before - 0.1 and smooth < 0.2 * rough


def test_types_that_change_without_new_neighbors(run):
    """fix atom/swap exchanges types of atoms, then computes, then goes on."""
    lines = "neigh_modify every 100 delay 100 check no\nfix 1 all nve\n"
    lines += "fix 2 all atom/swap 5 20 1234 1e8 ke no types 1 2\nthermo 10\nrun 10\n"
    printed = run(lines + shown("swaps", "f_2[2]") + shown("before", "pe") + ENERGY)
    assert parsed(printed, "swaps") > 5
    assert parsed(printed) == pytest.approx(parsed(printed, "before"), rel=1e-12)
