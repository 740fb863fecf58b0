"""`verify` on calculators of others: ten that are broken in ways seen in practice, EMT, MACE and NequIP as they are; on
the demo's model, with every backend beside plain torch.

    python benchmarks/verify_calculators.py broken|emt|mace|nequip      # the last two where these are installed
    python benchmarks/verify_calculators.py demo [--model MODEL]        # after `make demo`

In an environment of MACE or NequIP this repository in PYTHONPATH is enough. Their models are small and have random
weights: what is verified is how they compute.
"""

import argparse
import copy
import warnings
from pathlib import Path

import ase.io
import numpy as np
from ase.build import bulk, molecule
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.cluster import Octahedron
from calculators import mace_calculator, nequip_calculator
from environment import RESULTS, environment, write

from equitensor.testing import verify
from equitensor.verification.structures import made

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


def whole(what: str, model: str) -> dict:
    """The report of each structure, printed."""
    result = {}
    for name, atoms in STRUCTURES[what]().items():
        report = demo_report(model, atoms) if what == "demo" else verify(CALCULATORS[what](), atoms, seconds=SECONDS)
        print(name, report, sep="\n", flush=True)
        result[name] = report.as_dict()
    return result


def demo_report(model: str, atoms):
    """Of a model file, with every backend that there is."""
    from equitensor import Calculator
    from equitensor.verification.model import verify_model

    return verify_model(model, atoms, Calculator(model, dtype="float64"), seconds=SECONDS)


def of_metals() -> dict:
    """A crystal, an alloy that no symmetry makes equal, a cluster."""
    alloy = bulk("Cu", cubic=True) * (2, 1, 1)
    alloy.numbers[[0, 3]] = 79, 46
    return {"Cu": bulk("Cu", cubic=True), "CuAuPd": alloy, "Pt cluster": Octahedron("Pt", 3, cutoff=1)}


def of_the_demo() -> dict:
    """A molecule that was learned, and a crystal that was not."""
    alanine = ase.io.read(DATA / "test_hot.xyz", 0)
    return {"alanine": alanine, "made crystal": made(["H", "C", "N", "O"])["made crystal"]}


def of_networks() -> dict:
    return {"ethanol": molecule("CH3CH2OH"), "Si": bulk("Si")}


DATA = Path(__file__).resolve().parents[1] / "datasets" / "alanine"
STRUCTURES = {"emt": of_metals, "mace": of_networks, "nequip": of_networks, "demo": of_the_demo}
CALCULATORS = {
    "emt": EMT,
    "mace": lambda: mace_calculator("float64", channels=16),
    "nequip": lambda: nequip_calculator("float64", channels=16),
}


def caught() -> dict:
    """Which of the broken calculators fail under the name of what is wrong with them."""
    copper, reports = bulk("Cu", cubic=True), {}
    for name, calculator, check in broken():
        report = verify(calculator, copper, seconds=SECONDS / 6)
        reports[name] = {"must_fail": check, "caught": check in report.failed, "failed": report.failed}
        print(name, reports[name], flush=True)
    return {"calculators": reports, "caught": sum(each["caught"] for each in reports.values())}


def main() -> None:
    """Verify, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("broken", *STRUCTURES))
    parser.add_argument("--model", default="runs/demo/train/model.eqt", help="of the demo")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    result = caught() if options.what == "broken" else whole(options.what, options.model)
    write({"environment": environment("float64"), **result}, RESULTS / f"verify_{options.what}.json")


if __name__ == "__main__":
    main()
