"""Calculators that remember, forget, refuse or lack something, and what checks and twins say of them."""

import copy

import numpy as np
import pytest
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from potentials import Broken, Images, Smooth, failed, in_single_precision

from equitensor.errors import InputError
from equitensor.verification import verify


def test_forces_of_the_step_before(copper):
    class Behind(Smooth):
        last = None

        def calculate(self, *arguments):
            super().calculate(*arguments)
            forces = self.results["forces"].copy()
            if self.last is not None and self.last.shape == forces.shape:
                self.results["forces"] = self.last
            self.last = forces

    assert failed(Behind(), copper, "NVE drift")
    assert failed(Behind(), copper, "determinism")
    assert not failed(Smooth(), copper, "NVE drift")


def test_noise(copper):
    random = np.random.default_rng(0)

    def energy(results, atoms):
        results["energy"] += 1e-4 * random.standard_normal()

    def forces(results, atoms):
        results["forces"] += 1e-4 * random.standard_normal(results["forces"].shape)

    assert failed(Broken(energy), copper, "determinism")
    assert failed(Broken(forces), copper, "determinism")


class BlindTo(Smooth):
    """Does not see changes of one kind."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def check_state(self, atoms, tol=1e-15):
        return [change for change in super().check_state(atoms, tol) if change != self.kind]


class Tolerant(Smooth):
    def check_state(self, atoms, tol=1e-15):
        return super().check_state(atoms, 0.01)


@pytest.mark.parametrize("build", [lambda: BlindTo("cell"), lambda: BlindTo("positions"), Tolerant])
def test_changes_that_are_not_seen(build, copper):
    assert failed(build(), copper, "stale results")


def test_a_memory_of_rounded_positions(copper):
    class Remembers(Smooth):
        def __init__(self):
            super().__init__()
            self.known = {}

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            key = np.round(atoms.positions, 2).tobytes(), np.round(atoms.cell.array, 2).tobytes()
            super().calculate(atoms, properties, system_changes)
            self.results = self.known.setdefault(key, copy.deepcopy(self.results))

    assert failed(Remembers(), copper, "stale results")


def test_a_neighbour_list_that_serves_too_long(cluster):
    class OldList(Images):
        pairs = None

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            distances = self.atoms.get_all_distances()
            if self.pairs is None or len(self.pairs) != len(distances):
                self.pairs = distances < 2.7
            terms = np.where(self.pairs & (distances > 0), np.exp(-((distances / 1.4) ** 2)), 0.0)
            self.results["energy"] = self.results["free_energy"] = terms.sum() / 2

    assert failed(OldList(), cluster, "stale results")


class Swallows(EMT):
    """Goes on with the results that it has where it cannot compute."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        before = dict(self.old)
        try:
            super().calculate(atoms, properties, system_changes)
            self.results = copy.deepcopy(self.results)
        except Exception:
            self.results = before
        self.old = self.results

    old = {}  # noqa: RUF012


class Unsteady(EMT):
    """Goes on likewise, with last digits that hang on the calls before, as where the order of sums does."""

    old, calls = None, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        self.calls += 1
        try:
            super().calculate(atoms, properties, system_changes)
            self.old = copy.deepcopy(self.results)
            for name in ("energy", "free_energy", "forces"):
                self.old[name] = self.old[name] * (1 + 1e-14 * self.calls)
        except Exception:
            if self.old is None:
                raise
        self.results = self.old


class Breaks(Smooth):
    """Never recovers from a structure that it refused."""

    wrong = 1.0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        if not np.isfinite(atoms.positions).all():
            self.wrong = 1.001
            raise ValueError("positions are not finite")
        super().calculate(atoms, properties, system_changes)
        self.results["forces"] *= self.wrong


def test_old_results_after_an_error(gold_copper, copper):
    assert failed(Swallows(), gold_copper, "after an error")
    assert failed(Unsteady(), gold_copper, "after an error")
    assert failed(Breaks(), copper, "after an error")
    assert not failed(EMT(), gold_copper, "after an error")


def test_another_calculator_of_the_same_numbers(copper):
    def change(results, atoms):
        results["forces"] *= 1.001

    others = {"other": Smooth(), "single": Broken(in_single_precision), "off": Broken(change)}
    report = verify(Smooth(), copper, checks=["rounding"], others=others)
    assert [finding.verdict for finding in report.findings] == ["passed", "passed", "passed", "failed"]


def test_a_refusal_of_an_equivalent_structure_is_a_failure(copper):
    class NoSkew(Smooth):
        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            if len(atoms) > 2:
                raise RuntimeError("two atoms\nat most")
            super().calculate(atoms, properties, system_changes)

    report = verify(NoSkew(), copper, checks=["supercells", "far fragments"])
    verdicts = [(finding.verdict, finding.reason) for finding in report.findings]
    reason = "the calculator stopped: RuntimeError: two atoms"
    assert verdicts == [("failed", reason), ("not applicable", reason)]


def test_without_stress(copper):
    report = verify(Images(), copper, checks=["stress", "rotation"])
    assert report["stress"].verdict == "not applicable"
    assert "stress is not implemented" in report["stress"].reason
    assert report["rotation"].verdict == "passed"


def test_what_cannot_be_judged(copper, cluster):
    with pytest.raises(InputError, match="there is no check 'force'"):
        verify(EMT(), copper, checks=["force"])
    with pytest.raises(InputError, match="one atom has no forces"):
        verify(EMT(), cluster[:1])
    with pytest.raises(InputError, match="cannot compute the structure: NotImplementedError: No EMT-potential for Si"):
        silicon = copper.copy()
        silicon.numbers[:] = 14
        verify(EMT(), silicon)
    with pytest.raises(InputError, match="all forces are zero"):
        verify(Smooth(), _far(cluster))


def _far(cluster):
    atoms = cluster[[0, 1]]
    atoms.positions[1] += 30
    return atoms
