"""Time of a force call of a model beside GFN2-xTB (tblite), on one thread each.

    OMP_NUM_THREADS=1 python datasets/organics/check_speed.py organics runs/organics/data

Unseen molecules of 20 and 50 atoms, and heaps of unseen molecules of 200 and 1000 atoms. Both compute energy and forces
at the same positions, in turn, which vibrate as in dynamics: GFN2-xTB begins with the density of the call before, the
model keeps its list of neighbours while it holds. Medians of processor time, which is the wall time where the machine
does nothing else. 1000 atoms take GFN2-xTB minutes.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from geometries import first_conformers, side_by_side
from results import FOLDER, Results, about
from unseen import unseen
from xtb import GFN2, VERSIONS

from equitensor import Calculator
from equitensor.bench.structures import vibration
from equitensor.errors import InputError

CALLS = {20: 40, 50: 20, 200: 8, 1000: 3}  # by the number of atoms
MODEL, REFERENCE = "model", "GFN2-xTB"


def structure(rows: list[dict], atoms: int) -> Atoms:
    """A molecule of so many atoms where they are few, else several side by side."""
    chosen = [row for row in rows if row["atoms"] == atoms]
    parts = [mol for _, mol in first_conformers(chosen)][:1] or _parts(rows, atoms)
    joint = parts[0] if len(parts) == 1 else side_by_side(parts, np.random.default_rng(0))
    return Atoms([atom.GetAtomicNum() for atom in joint.GetAtoms()], joint.GetConformer(0).GetPositions())


def _parts(rows: list[dict], atoms: int) -> list:
    """Molecules that have so many atoms together: large ones first come, the last of a size that fills up."""
    parts, left = [], atoms
    smallest = min(row["atoms"] for row in rows)
    for row, mol in first_conformers(rows):
        if row["atoms"] == left or left - row["atoms"] >= 3 * smallest:
            parts.append(mol)
            left -= row["atoms"]
        if not left:
            return parts
    raise SystemExit(f"error: the list has no molecules that make {atoms} atoms")


def measure(atoms: Atoms, calculators: dict, calls: int) -> dict:
    """Milliseconds of the processor a call, medians over so many calls in turn after one that is not counted."""
    seconds = {name: [] for name in calculators}
    for positions in vibration(atoms, calls + 1, amplitude=0.03):
        for name, calc in calculators.items():
            moved = Atoms(atoms.numbers, positions, calculator=calc)
            began = time.process_time()
            moved.get_forces()
            seconds[name].append(time.process_time() - began)
    medians = {name: 1000 * statistics.median(of_one[1:]) for name, of_one in seconds.items()}
    spread = {name: [round(1000 * end(of_one[1:]), 3) for end in (min, max)] for name, of_one in seconds.items()}
    return {
        "atoms": len(atoms),
        "calls": calls,
        **{f"{name} (ms)": round(value, 3) for name, value in medians.items()},
        "ratio": round(medians[REFERENCE] / medians[MODEL], 1),
        "quickest and slowest (ms)": spread,
    }


def summary(pieces: dict[str, dict]) -> dict[str, dict]:
    """By size, without the spread."""
    return {
        name: {key: value for key, value in piece.items() if "slowest" not in key} for name, piece in pieces.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file, or by its name one that comes with equitensor")
    parser.add_argument("data", type=Path, help="the folder that prepare.py made, of which the list is read")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(CALLS), choices=list(CALLS))
    parser.add_argument("--out", type=Path, default=FOLDER / "speed.json")
    parser.add_argument("--again", action="store_true", help="throw away the results that are there")
    options = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        sys.exit("error: OMP_NUM_THREADS is not 1: GFN2-xTB would take all cores")
    rows = unseen(options.data)
    try:
        ours = Calculator(options.model, device="cpu", dtype="float32", threads=1, error_bars=False)
        results = Results(options.out, about(options.model, threads=1), summary, options.again, **VERSIONS)
        for size in options.sizes:
            if f"{size} atoms" not in results.pieces:
                row = measure(structure(rows, size), {MODEL: ours, REFERENCE: GFN2()}, CALLS[size])
                results.add(f"{size} atoms", row)
                print(row, flush=True)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
