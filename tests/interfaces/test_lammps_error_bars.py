"""Error bars in LAMMPS, by fix pair and compute pair: those of the calculator on any number of ranks."""

import re

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule

from equitensor import Calculator
from equitensor.errors import InputError
from equitensor.interfaces.lammps import inputs, program

FIX = "fix bars all pair {every} equitensor novelty {trigger} forces_std {trigger}\n"
SHOWN = (
    "compute bars all pair equitensor\nthermo_style custom step pe c_bars[1] c_bars[2]\n"
    "dump bars all custom {steps} atoms x y z f_bars[1] f_bars[2]\ndump_modify bars sort id format float %.17g\n"
)
FOUND = 'print "found $(c_bars[1]:%.17g) $(c_bars[2]:%.17g)"\n'
ONCE = FIX.format(every=1, trigger=1) + SHOWN.format(steps=1) + "run 0\n" + FOUND


@pytest.fixture
def path(lammps, potential_with_error_bars):
    return potential_with_error_bars


def alloy(repeat=(3, 3, 3)):
    atoms = bulk("Cu", cubic=True).repeat(repeat)
    rng = np.random.default_rng(0)
    atoms.symbols[rng.random(len(atoms)) < 0.4] = "Al"
    atoms.positions += 0.1 * rng.standard_normal(atoms.positions.shape)
    return atoms


def slab():
    atoms = fcc111("Al", (3, 3, 3), vacuum=25.0)
    atoms.pbc = True
    atoms.rattle(0.1, seed=2)
    return atoms


STRUCTURES = {"alloy": alloy, "molecule": lambda: molecule("CH3CH2OH"), "slab": slab}


@pytest.fixture
def run(path, tmp_path):
    """run(lines): energy_std and the largest novelty as printed; frames of x, y, z, novelty, forces_std of atoms."""

    def run(lines, atoms=None, ranks=1, first="", style="equitensor float64 error_bars", model=path, **options):
        box = inputs.box(alloy() if atoms is None else atoms)
        inputs.write_data(tmp_path / "atoms.data", box)
        head = inputs.setup(box, "atoms.data", model, "float64").replace("equitensor float64", style)
        if "units" in options:
            head = head.replace("units metal", f"units {options.pop('units')}")
        printed = program.run(first + head + lines, tmp_path, ranks, timeout=120, **options)
        values = re.findall(r"^found (.*)$", printed, re.MULTILINE)
        frames = (tmp_path / "atoms").read_text().split("ITEM: TIMESTEP")[1:] if (tmp_path / "atoms").exists() else []
        tables = [np.array([line.split() for line in frame.splitlines()[9:]], dtype=float) for frame in frames]
        return np.array([line.split() for line in values], dtype=float), tables

    return run


def expected(path, atoms):
    calc = Calculator(path, device="cpu", dtype="float64", backend="torch")
    calc.calculate(atoms)
    return calc.results


def compare(values, table, results, tolerance=1e-9):
    of_all = [results["energy_std"], results["novelty"].max()]
    np.testing.assert_allclose(values, of_all, rtol=tolerance)
    np.testing.assert_allclose(table[:, 3], results["novelty"], rtol=tolerance)
    np.testing.assert_allclose(table[:, 4], results["forces_std"], rtol=tolerance)


@pytest.mark.parametrize("name", STRUCTURES)
def test_numbers_of_the_calculator(run, path, name):
    atoms = STRUCTURES[name]()
    results = expected(path, atoms)
    for ranks in (1, 2, 4):
        first = f"processors 1 1 {ranks}\n" if name == "slab" else ""  # the last rank has vacuum only
        values, tables = run(ONCE, atoms, ranks, first)
        compare(values[0], tables[0], results)


def test_they_follow_the_atoms(run, path):
    """Through dynamics in which atoms change ranks, at the steps that ask for them and at no other."""
    lines = FIX.format(every=5, trigger=1) + SHOWN.format(steps=5) + "fix move all nve\nvelocity all create 3000 7\n"
    atoms = alloy()
    values, tables = run(lines + "thermo 5\nrun 20\n" + FOUND, atoms, ranks=2)
    assert len(tables) == 5
    frame = inputs.box(atoms)
    moved = frame.atoms.copy()
    moved.set_cell(frame.prism.lammps_cell)
    moved.positions = tables[-1][:, :3]
    assert np.abs(tables[-1][:, 3] - tables[0][:, 3]).max() > 0.1
    compare(values[0], tables[-1], expected(path, moved), tolerance=1e-8)  # of positions that are printed


def test_without_a_trigger_they_are_there_at_every_step(run, tmp_path):
    lines = FIX.format(every=1, trigger=0) + "compute sum all reduce sum f_bars[1] f_bars[2]\nfix move all nve\n"
    run(lines + "fix out all ave/time 1 1 1 c_sum[1] c_sum[2] file series\nthermo 5\nrun 5\n", ranks=2)
    series = np.loadtxt(tmp_path / "series")
    assert series.shape == (6, 3) and np.isfinite(series).all() and (np.diff(series, axis=0) != 0).all()


def test_real_units(run):
    (metal,), (of_metal,) = run(ONCE)
    (real,), (of_real,) = run(ONCE, units="real")
    np.testing.assert_allclose(real, metal * [23.060549, 1], rtol=1e-7)
    np.testing.assert_allclose(of_real[:, 3:], of_metal[:, 3:] * [1, 23.060549], rtol=1e-7)


def hybrid(path, elements):
    """Beside a style that is too short to be felt."""
    styles = "pair_style hybrid/overlay equitensor float64 error_bars zbl 0.5 0.6\n"
    other = "pair_coeff 1 1 zbl 13 13\npair_coeff 1 2 zbl 13 29\npair_coeff 2 2 zbl 29 29\n"
    return f"{styles}pair_coeff * * equitensor {path} {elements}\n{other}"


def test_under_hybrid_overlay_and_after_a_restart(run, path):
    other = hybrid(path, "Al Cu")
    (alone,), (of_alone,) = run(ONCE)
    (values,), (table,) = run(other + ONCE, ranks=2)
    np.testing.assert_allclose(values, alone, rtol=1e-12)
    np.testing.assert_allclose(table, of_alone, rtol=1e-10, atol=1e-12)
    run("write_restart there\n")
    (values,), _ = run(f"clear\nread_restart there\npair_coeff * * {path} Al Cu\n" + ONCE)
    np.testing.assert_allclose(values, alone, rtol=1e-12)


def test_a_style_that_is_said_again(run, path):
    """Its system is one of the new settings."""
    atoms = alloy()
    values, (table,) = run(
        "run 0\npair_style equitensor float64 error_bars\n" + ONCE, atoms, style="equitensor float32"
    )
    compare(values[0], table, expected(path, atoms))


def test_atoms_without_an_element_have_none(run, path):
    atoms = alloy()
    values, (table,) = run(hybrid(path, "Al NULL") + ONCE, atoms)
    aluminium = atoms.symbols == "Al"
    results = expected(path, atoms[aluminium])
    compare(values[0], table[aluminium], results)
    assert not table[~aluminium, 3:].any()


@pytest.mark.parametrize(
    "lines, style, message",
    [
        (ONCE, "equitensor float64", r"[Ff]ix pair|[Cc]ompute"),
        (ONCE, "equitensor float64 errors", "pair_style equitensor errors: say float32"),
        (ONCE, "equitensor error_bars float64", "pair_style equitensor float64: say float32"),
    ],
)
def test_what_is_refused(run, lines, style, message):
    with pytest.raises(InputError, match=message) as caught:
        run(lines, style=style)
    print(caught.value)


def test_a_model_without_them_is_refused(run, potential):
    with pytest.raises(InputError, match=r"has no error bars: equitensor uncertainty MODEL TRAIN"):
        run(ONCE, model=potential, ranks=2)
