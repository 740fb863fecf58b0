"""Each check lets true calculators pass and rejects its broken twins, under its own name."""

from pathlib import Path

import numpy as np
import pytest
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from potentials import EPSILON, LONG, REACH, SIGMA, Broken, Cut, Images, Smooth, failed, in_single_precision

from equitensor import testing
from equitensor.verification import CHECKS, verify

PERIODIC = ("stress", "lattice translation", "equivalent cells", "supercells")


@pytest.mark.parametrize("build", [EMT, Smooth])
def test_true_calculators_pass_on_a_crystal(build, gold_copper):
    checks = [name for name in CHECKS if name != "many atoms"]  # slow in Python
    report = verify(build(), gold_copper, checks=checks, seconds=LONG)
    assert report.passed, str(report)
    assert {finding.verdict for finding in report.findings} == {"passed"}, str(report)


def test_a_molecule_passes_and_what_says_nothing_of_it_says_so(methanol):
    report = testing.verify(EMT(), methanol, e0s={"H": 3.21, "C": 3.5, "O": 4.6}, seconds=LONG)
    assert report.passed, str(report)
    reasons = {finding.check: finding.reason for finding in report.findings if finding.verdict == "not applicable"}
    assert reasons == dict.fromkeys(PERIODIC, "the structure is not periodic")
    assert "energy minus E0" in [quantity.name for quantity in report["isolated atoms"].quantities]


def rounded(results, atoms):
    """As a network in single precision would give them: a sum in double precision of rounded terms."""
    results["energies"] = np.float32(results["energies"]).astype(float)
    results["energy"] = results["energies"].sum()
    results["forces"] = np.float32(results["forces"]).astype(float)
    results["stress"] = np.float32(results["stress"]).astype(float)


@pytest.mark.parametrize("change", [rounded, in_single_precision])
def test_noise_of_single_precision_passes(change, copper):
    report = verify(Broken(change), copper, seconds=LONG)
    assert report.passed, str(report)


def test_a_total_that_is_rounded_beyond_small_motions(copper):
    """In steps of 31 meV, more than the energy changes by in the motions that noise is measured on at first."""

    def change(results, atoms):
        offset = 40_000.0 * len(atoms)
        results["energy"] = float(np.float32(results["energy"] - offset)) + offset

    report = verify(Broken(change), copper, seconds=LONG, checks=["rounding"])
    (energy, _) = report["rounding"].quantities
    assert energy.value > energy.bound and 0.003 < energy.value < 0.03


def scaled(component):
    def change(results, atoms):
        results["forces"].flat[component] *= 1.02

    return change


@pytest.mark.parametrize("component", range(6))
def test_forces_off_by_two_percent_in_one_component(component, copper):
    assert failed(Broken(scaled(component)), copper, "forces")

    def single(results, atoms):
        in_single_precision(results, atoms)
        scaled(component)(results, atoms)

    assert failed(Broken(single), copper, "forces")


def test_forces_that_are_cut_off_where_they_are_large(copper):
    largest = verify(Smooth(), copper, checks=["rounding"])["rounding"].quantities[1].bound * 1e3 * 2

    def change(results, atoms):
        results["forces"] = np.clip(results["forces"], -largest, largest)

    assert failed(Broken(change), copper, "forces")


def test_forces_that_rotate(copper):
    def change(results, atoms):
        arms = atoms.positions - atoms.positions.mean(axis=0)
        results["forces"] += 0.02 * np.cross([0, 0, 1], arms)

    assert failed(Broken(change), copper, "Hessian")


def off_diagonal(results, atoms):
    results["stress"][3:] *= 2


def wrong_sign(results, atoms):
    results["stress"] *= -1


def pressure_only(results, atoms):
    results["stress"] = np.array([results["stress"][:3].mean()] * 3 + [0] * 3)


@pytest.mark.parametrize("change", [wrong_sign, off_diagonal, pressure_only])
def test_wrong_stress(change, copper):
    assert failed(Broken(change), copper, "stress")


def height(results, atoms):
    results["energy"] += 1e-5 * (atoms.positions[:, 2] ** 2).sum()


def turned_forces(results, atoms):
    results["forces"] += [1e-4, 0, -1e-4]


@pytest.mark.parametrize("change", [height, turned_forces])
def test_energies_that_depend_on_the_frame_of_reference(change, copper, cluster):
    assert failed(Broken(change), copper, "rotation")
    assert failed(Broken(change), cluster, "rotation")


def chiral(results, atoms):
    if len(atoms) > 3:
        results["energy"] += 1e-4 * np.linalg.det(atoms.positions[1:4] - atoms.positions[0])


def test_energies_that_tell_left_from_right(cluster):
    assert failed(Broken(chiral), cluster, "inversion")
    assert not failed(Broken(chiral), cluster, "translation")


def origin(results, atoms):
    results["energy"] *= 1 + 1e-6 * atoms.positions[0, 0]


def push(results, atoms):
    results["forces"][0] += [1e-5, 0, 0]


@pytest.mark.parametrize("change", [origin, push])
def test_absolute_positions(change, copper):
    assert failed(Broken(change), copper, "translation")


def first_atom(results, atoms):
    results["energy"] += 1e-5 * results["energies"][0]


def two_swapped(results, atoms):
    results["forces"][[0, 1]] = results["forces"][[1, 0]]


@pytest.mark.parametrize("change", [first_atom, two_swapped])
def test_the_order_of_atoms(change, cluster):
    assert failed(Broken(change), cluster, "permutation")


def test_neighbours_that_are_missed(copper):
    for check in ("lattice translation", "equivalent cells", "supercells"):
        assert not failed(Images(), copper, check)
    assert failed(Images(wrap=False, shells=2), copper, "lattice translation")
    assert failed(Images(reduce=False), copper, "equivalent cells")
    assert failed(Images(nearest=True), copper, "supercells")
    assert failed(Images(skip=(1, 0, 0)), copper, "supercells")


def size(results, atoms):
    results["energy"] *= 1 + 1e-4 / len(atoms)


def coulomb(results, atoms):
    distances = atoms.get_all_distances()
    results["energy"] += 0.01 * (1 / distances[distances > 0]).sum()


@pytest.mark.parametrize("change", [size, coulomb])
def test_fragments_that_feel_each_other(change, cluster):
    assert failed(Broken(change), cluster, "far fragments")


def e0(results, atoms):
    results["energy"] += 0.01 * len(atoms)


def lonely(results, atoms):
    if len(atoms) == 1:
        results["forces"] += 1e-3


def test_isolated_atoms(cluster):
    assert not failed(Smooth(), cluster, "isolated atoms", e0s={"Cu": 0.0})
    assert failed(Broken(e0), cluster, "isolated atoms", e0s={"Cu": 0.0})
    assert failed(Broken(lonely), cluster, "isolated atoms")


def short_sum(results, atoms):
    """One total in single precision, energies of isolated atoms in it."""
    results["energy"] = float(np.cumsum(np.float32(results["energies"] - 800.0), dtype=np.float32)[-1])


def test_sums_that_lose_digits_with_many_atoms(copper):
    assert failed(Broken(short_sum), copper, "many atoms")
    assert not failed(Broken(rounded), copper, "many atoms")


class Clocked(Broken):
    """By a clock of its own a call takes `fixed` seconds, and `per_atom` for each atom."""

    def __init__(self, monkeypatch, change=lambda results, atoms: None, fixed=0.0, per_atom=0.0):
        super().__init__(change)
        self.fixed, self.per_atom, self.now = fixed, per_atom, 0.0
        monkeypatch.setattr("equitensor.verification.subject.perf_counter", lambda: self.now)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        self.now += self.fixed + self.per_atom * len(atoms)
        super().calculate(atoms, properties, system_changes)


def by_half_beyond_300(results, atoms):
    results["energy"] -= results["energies"][300:].sum() / 2


def test_atoms_that_do_not_count_where_there_are_many_also_where_calls_are_slow(copper, monkeypatch):
    def finding_of(*arguments, **options):
        return verify(Clocked(monkeypatch, *arguments, **options), copper, checks=["many atoms"])["many atoms"]

    def where(**options):
        return [quantity.where.split(" beside")[0] for quantity in finding_of(**options).quantities]

    assert finding_of(by_half_beyond_300, fixed=0.6).verdict == "failed"  # in proportion 588 atoms would take 180 s
    assert where(fixed=0.6) == ["588 atoms", "588 atoms"]
    assert where(fixed=3.0) == ["588 atoms"]  # once, not nine times
    assert where(per_atom=0.01) == ["200 atoms", "72 atoms"]
    assert "a call takes too long for a structure of many atoms: 6 s for 2" in finding_of(fixed=6.0).reason
    assert "a call takes too long for a structure of many atoms: 4 s for 4" in finding_of(per_atom=1.0).reason


def coarse(results, atoms):
    results["energy"] = round(results["energy"], 2)


def test_coarse_rounding(copper):
    assert failed(Broken(coarse, epsilon=10 * EPSILON), copper, "rounding")


def begins_late(x):
    """A cutoff function that is 1 up to x = 0.7, where its second derivative jumps, and ends smoothly."""
    y = np.clip((x - 0.7) / 0.3, 0, 1)
    value, derivative = (1 - y**2) ** 3, -20 * y * (1 - y**2) ** 2
    return np.exp(-2 * x) * value, np.exp(-2 * x) * (derivative - 2 * value)


CUTS = {
    "smooth": (lambda x: ((1 - x) ** 3, -3 * (1 - x) ** 2)),
    "energy jump": (lambda x: ((1 - x) ** 3 + 1e-3, -3 * (1 - x) ** 2)),
    "force jump": (lambda x: (1 - x, -np.ones_like(x))),
    "force kink": (lambda x: ((1 - x) ** 2, -2 * (1 - x))),
}


def test_where_a_cutoff_function_begins(cluster):
    finding = verify(Cut(begins_late), cluster, checks=["cutoff"], seconds=LONG)["cutoff"]
    assert [quantity.name for quantity in finding.quantities if not quantity.passed] == ["force kink"]


@pytest.mark.parametrize("name", CUTS)
def test_how_the_interaction_ends(name, cluster):
    finding = verify(Cut(CUTS[name]), cluster, checks=["cutoff"], seconds=LONG)["cutoff"]
    bad = [quantity.name for quantity in finding.quantities if not quantity.passed]
    assert bad == ([] if name == "smooth" else [name]), finding


def test_a_cutoff_without_smoothing(copper, cluster):
    for atoms in (copper, cluster):
        assert failed(LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=REACH), atoms, "cutoff")
        assert not failed(Smooth(), atoms, "cutoff")


def test_every_check_has_a_twin():
    files = [Path(__file__).with_name(name) for name in ("test_checks.py", "test_unsound_calculators.py")]
    here = "".join(file.read_text() for file in files)
    assert all(f'"{check}")' in here or f'"{check}", ' in here for check in CHECKS)
