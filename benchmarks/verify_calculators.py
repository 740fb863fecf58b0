"""`verify` on calculators of others: ten that are broken in ways seen in practice, and MACE and NequIP as they are.

    python benchmarks/verify_calculators.py broken|mace|nequip      # the last two where these are installed

In an environment of MACE or NequIP this repository in PYTHONPATH is enough. Their models are small and have random
weights: what is verified is how they compute.
"""

import argparse
import copy
import warnings

import numpy as np
from ase.build import bulk, molecule
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from calculators import mace_calculator, nequip_calculator
from environment import RESULTS, environment, write

from equitensor.testing import verify

SECONDS = 60.0


class Changed(EMT):
    """EMT, whose results a function changes; it is given the calculator, too."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.change(self, self.results, self.atoms)
        self.results["free_energy"] = self.results["energy"]  # the one that forces belong to


def forward_differences(calc, results, atoms):
    """Forces by one-sided differences with a step that is too long."""
    plain, step = EMT(), 0.02
    for i in range(len(atoms)):
        for k in range(3):
            moved = atoms.copy()
            moved.positions[i, k] += step
            moved.calc = plain
            results["forces"][i, k] = -(moved.get_potential_energy() - results["energy"]) / step


def order_of_voigt(calc, results, atoms):
    """xx, yy, zz, xy, xz, yz, as LAMMPS has it."""
    results["stress"] = results["stress"][[0, 1, 2, 5, 4, 3]]


def field_along_z(calc, results, atoms):
    """A field along z that somebody forgot to switch off."""
    results["forces"] = results["forces"] + 1e-3 * np.array([0.0, 0.0, 1.0]) * (-1.0) ** np.arange(len(atoms))[:, None]


def sorted_by_height(calc, results, atoms):
    """Forces come back in the order of the atoms' z coordinates."""
    results["forces"] = results["forces"][np.argsort(atoms.positions[:, 2], kind="stable")]


def drift_of_forces(calc, results, atoms):
    """A part of the net force is left on every atom, as a mesh leaves it."""
    results["forces"] = results["forces"] + 1e-3 * np.sin(atoms.positions / 0.7)


def dropout(calc, results, atoms):
    """A network left in training mode."""
    results["forces"] = results["forces"] * (1 + 1e-2 * np.random.default_rng().normal(size=results["forces"].shape))


def total_in_single_precision(calc, results, atoms):
    """A total with the energies of all electrons in it, rounded to 24 bits."""
    offset = 40_000.0 * len(atoms)
    results["energy"] = float(np.float32(results["energy"] - offset)) + offset


def per_atom(calc, results, atoms):
    """The energy of an atom, in the place of the total, beyond a hundred of them."""
    if len(atoms) > 100:
        results["energy"] *= 1 - 1e-3


class NoticesPositionsOnly(EMT):
    """Goes on with the results of before where only the cell has changed."""

    def check_state(self, atoms, tol=1e-15):
        if self.atoms is not None and len(atoms) == len(self.atoms):
            same = np.array_equal(atoms.positions, self.atoms.positions)
            if same and np.array_equal(atoms.numbers, self.atoms.numbers):
                return []
        return super().check_state(atoms, tol)


class OldAfterAnError(EMT):
    """Where it runs into an error it says what it found for the last structure."""

    last: dict | None = None

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        try:
            super().calculate(atoms, properties, system_changes)
            if not np.isfinite(self.results["energy"]):
                raise ValueError("no number")
            self.last = copy.deepcopy(self.results)
        except Exception:
            if self.last is None:
                raise
            self.results = copy.deepcopy(self.last)


def broken() -> list[tuple]:
    """(what it is, its calculator, the check that must name it)."""
    made = [
        (forward_differences, "forces"),
        (order_of_voigt, "stress"),
        (field_along_z, "rotation"),
        (sorted_by_height, "permutation"),
        (drift_of_forces, "translation"),
        (dropout, "determinism"),
        (total_in_single_precision, "rounding"),
        (per_atom, "many atoms"),
    ]
    calculators = [(change.__name__, Changed(change), check) for change, check in made]
    return [
        *calculators,
        ("notices_positions_only", NoticesPositionsOnly(), "stale results"),
        ("old_after_an_error", OldAfterAnError(), "after an error"),
    ]


def main() -> None:
    """Verify, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("broken", "mace", "nequip"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.what == "broken":
        copper = bulk("Cu", cubic=True)
        reports = {}
        for name, calculator, check in broken():
            report = verify(calculator, copper, seconds=SECONDS / 6)
            reports[name] = {"must_fail": check, "caught": check in report.failed, "failed": report.failed}
            print(name, reports[name], flush=True)
        result = {"calculators": reports, "caught": sum(each["caught"] for each in reports.values())}
    else:
        calculator = {"mace": mace_calculator, "nequip": nequip_calculator}[options.what]("float64", channels=16)
        structures = {"ethanol": molecule("CH3CH2OH"), "Si": bulk("Si")}
        result = {}
        for name, atoms in structures.items():
            report = verify(calculator, atoms, seconds=SECONDS)
            print(name, report, sep="\n", flush=True)
            result[name] = report.as_dict()
    write({"environment": environment("float64"), **result}, RESULTS / f"verify_{options.what}.json")


if __name__ == "__main__":
    main()
