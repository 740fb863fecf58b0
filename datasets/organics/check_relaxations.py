"""How near the minima of a model are to those of GFN2-xTB, for molecules that no training saw.

    OMP_NUM_THREADS=1 python datasets/organics/check_relaxations.py organics runs/organics/data --processes 2

Both relax each molecule by L-BFGS until no force exceeds 0.005 eV/Angstrom, from the same starts: a conformer by ETKDG,
and the minimum of MMFF94 next to it. RMSDs are of all atoms, after superposition. Where the two come out far from each
other, GFN2-xTB also relaxes what the model came to: its minimum next to that of the model. Results are kept after each
molecule; a call that was stopped goes on.
"""

import argparse
import itertools
import multiprocessing
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from geometries import first_conformers, minimized
from results import FOLDER, Results, about
from shapes import rmsd
from unseen import unseen
from xtb import GFN2, VERSIONS

from equitensor import Calculator
from equitensor.errors import InputError
from equitensor.interfaces.relaxation import relax
from equitensor.interfaces.stability import UnstableError

FMAX = 0.005  # eV/Angstrom
STEPS = 1500
NEAR = 0.05  # Angstrom
ETKDG, MMFF = "conformers by ETKDG", "minima of MMFF94"


@dataclass(frozen=True)
class Task:
    """One molecule: its row of the list and the positions that it starts from, by name."""

    model: str
    row: dict
    numbers: list[int]
    starts: dict[str, np.ndarray]


def measure(task: Task) -> tuple[str, dict]:
    """The SMILES, and by start the RMSD and how the relaxations ended."""
    ours = Calculator(task.model, device="cpu", dtype="float32", threads=1, error_bars=False)
    pairs = {name: _pair(Atoms(task.numbers, x), ours, GFN2()) for name, x in task.starts.items()}
    return task.row["smiles"], {"atoms": task.row["atoms"], **pairs}


def _pair(start: Atoms, ours, reference) -> dict:
    try:
        one, other = _minimum(start, ours), _minimum(start, reference)
        distance = rmsd(one["positions"], other["positions"])
        facts = {"RMSD (A)": round(distance, 4), "steps": [one["steps"], other["steps"]]}
        facts["converged"] = one["converged"] and other["converged"]
        if distance > NEAR:
            next_to = _minimum(Atoms(start.numbers, one["positions"]), reference)
            facts["RMSD of the minimum next to it (A)"] = round(rmsd(one["positions"], next_to["positions"]), 4)
    except (CalculationFailed, UnstableError) as error:
        return {"failed": str(error)}
    return facts


def _minimum(start: Atoms, calc) -> dict:
    atoms = start.copy()
    atoms.calc = calc
    end = relax(atoms, fmax=FMAX, steps=STEPS)
    return {"positions": atoms.positions, "steps": end.steps, "converged": end.converged}


def summary(pieces: dict[str, dict]) -> dict[str, dict]:
    """By start, the share of molecules that come out near; those that failed are not."""
    return {start: _summary([piece[start] for piece in pieces.values() if start in piece]) for start in (MMFF, ETKDG)}


def _summary(pairs: list[dict]) -> dict:
    distances = np.array([pair.get("RMSD (A)", np.inf) for pair in pairs])
    next_to = np.array([pair.get("RMSD of the minimum next to it (A)", pair.get("RMSD (A)", np.inf)) for pair in pairs])
    return {
        "molecules": len(pairs),
        f"within {NEAR} A (%)": round(100 * float(np.mean(distances <= NEAR)), 1),
        "median RMSD (A)": round(float(np.median(distances)), 4),
        "largest RMSD (A)": round(float(distances.max()), 3),
        f"GFN2-xTB's minimum next to the model's is within {NEAR} A (%)": round(
            100 * float(np.mean(next_to <= NEAR)), 1
        ),
        "failed": sum("failed" in pair for pair in pairs),
        "not converged": sum(not pair.get("converged", True) for pair in pairs),
    }


def tasks(options: argparse.Namespace) -> list[Task]:
    """One for each molecule."""
    wanted = itertools.islice(first_conformers(unseen(options.data)), options.molecules)
    return [_task(options.model, row, mol) for row, mol in wanted]


def _task(model: str, row: dict, mol) -> Task:
    starts = {ETKDG: mol.GetConformer(0).GetPositions()}
    if (minimum := minimized(mol)) is not None:
        starts[MMFF] = minimum
    return Task(model, row, [atom.GetAtomicNum() for atom in mol.GetAtoms()], starts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file, or by its name one that comes with equitensor")
    parser.add_argument("data", type=Path, help="the folder that prepare.py made, of which the list is read")
    parser.add_argument("--molecules", type=int, default=100)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=FOLDER / "relaxations.json")
    parser.add_argument("--again", action="store_true", help="throw away the results that are there")
    options = parser.parse_args()
    try:
        basis = about(options.model, molecules=options.molecules, fmax=FMAX, steps=STEPS)
        results = Results(options.out, basis, summary, options.again, **VERSIONS)
        todo = [task for task in tasks(options) if task.row["smiles"] not in results.pieces]
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            for name, piece in pool.imap_unordered(measure, todo):
                results.add(name, piece)
                print(name, *(f"{start}: {piece[start]}" for start in (MMFF, ETKDG) if start in piece), flush=True)
    except InputError as error:
        sys.exit(f"error: {error}")
    for start, values in summary(results.pieces).items():
        print(start, values)


if __name__ == "__main__":
    main()
