"""Errors of a model on the parts of this data set that are held out, as a table and as JSON for its card.

    python datasets/organics/evaluate.py organics runs/organics/data --json runs/organics/errors.json

Unseen molecules (part `test`), larger ones (`larger`), and energies of interaction of unseen pairs (`test_dimers`: the
pair minus its halves, each as it is in the pair). Mean absolute errors beside the size of what is predicted. Parts that
the folder lacks are left out.

    python datasets/organics/evaluate.py organics-dft runs/organics/dft --stages b3lyp    # labels of label_dft.py

"GFN2-xTB" in place of a model is the method itself, whose energies have another zero than those of DFT.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import kcal, mol

from equitensor import Calculator
from equitensor.data import open_snapshots
from equitensor.errors import InputError

REFERENCE = "GFN2-xTB"
STAGES = ["gfn2", "gfn2_md"]
KCAL_MOL = kcal / mol  # eV


def frames(part: Path, stages: list[str]):
    """The snapshots of a part, as they are stored: eV, Angstrom."""
    snapshots = open_snapshots(part, stages=stages)
    return (snapshots[i] for i in range(len(snapshots)))


def predicted(calc, frame) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (eV/Angstrom) by the calculator."""
    atoms = Atoms(frame.z, frame.pos, calculator=calc)
    return atoms.get_potential_energy(), atoms.get_forces()


def of_molecules(calc, part: Path, stages: list[str]) -> dict[str, float]:
    """Errors of energies and forces. Relative energies are those of the frames of one molecule, beside their mean."""
    by_molecule, of_forces, forces = defaultdict(list), [], []
    for frame in frames(part, stages):
        energy, force = predicted(calc, frame)
        by_molecule[frame.group].append((energy - frame.energy, len(frame.z)))
        of_forces.append((force - frame.forces).ravel())
        forces.append(frame.forces.ravel())
    errors = [np.array(rows) for rows in by_molecule.values()]
    relative = np.concatenate([rows[:, 0] - rows[:, 0].mean() for rows in errors])
    error, size = np.concatenate(of_forces), np.concatenate(forces)
    return {
        "molecules": len(errors),
        "atoms of the largest": int(max(rows[0, 1] for rows in errors)),
        "frames": sum(map(len, errors)),
        "force MAE (meV/A)": 1000 * np.abs(error).mean(),
        "force RMSE (meV/A)": 1000 * np.sqrt(np.square(error).mean()),
        "RMS force (meV/A)": 1000 * np.sqrt(np.square(size).mean()),
        "energy MAE (meV/atom)": 1000 * np.mean(np.abs(np.concatenate([rows[:, 0] / rows[:, 1] for rows in errors]))),
        "relative energy MAE (kcal/mol)": np.abs(relative).mean() / KCAL_MOL,
    }


def of_pairs(calc, part: Path, stages: list[str]) -> dict[str, float]:
    """Errors of energies of interaction: a record of a pair is followed by those of its halves, frame by frame."""
    records = defaultdict(list)
    for frame in frames(part, stages):
        records[frame.group].append((frame.energy, predicted(calc, frame)[0]))
    pairs = [name for name in records if name + "a" in records]
    if not pairs:
        raise InputError(f"{part} has no pairs with their halves, whose keys end in a and b")
    labels, errors = [], []
    for pair in pairs:
        whole, one, other = (np.array(records[name]) for name in (pair, pair + "a", pair + "b"))
        if not len(whole) == len(one) == len(other):
            raise InputError(f"{part}, {pair}: {len(whole)} frames, but its halves have {len(one)} and {len(other)}")
        of_interaction = whole - one - other
        labels.append(of_interaction[:, 0])
        errors.append(of_interaction[:, 1] - of_interaction[:, 0])
    label, error = np.concatenate(labels) / KCAL_MOL, np.concatenate(errors) / KCAL_MOL
    return {
        "pairs": len(pairs),
        "frames": len(error),
        "interaction energy MAE (kcal/mol)": np.abs(error).mean(),
        "mean absolute interaction energy (kcal/mol)": np.abs(label).mean(),
    }


def evaluate(model: str, folder: Path, stages: list[str] = STAGES) -> dict[str, dict[str, float]]:
    """The errors of a model file, or of GFN2-xTB, on every held-out set, rounded to three digits."""
    if model == REFERENCE:
        try:
            from xtb import GFN2
        except ImportError as error:
            raise InputError(f"{REFERENCE} needs tblite and RDKit ({error}): pip install tblite rdkit") from None
        return measured(GFN2(), folder, stages)
    return measured(Calculator(model, device="cpu", threads=1, error_bars=False), folder, stages)


def measured(calc, folder: Path, stages: list[str] = STAGES) -> dict[str, dict[str, float]]:
    """The same of any calculator of ASE. Raises InputError for a folder without any part that is held out."""
    errors = {
        name: measure(calc, folder / part, stages) for name, (part, measure) in SETS.items() if (folder / part).is_dir()
    }
    if not errors:
        parts = ", ".join(part for part, _ in SETS.values())
        raise InputError(f"{folder} has none of the folders {parts}: prepare.py or label_dft.py makes them")
    return {
        name: {what: value if isinstance(value, int) else float(f"{value:.3g}") for what, value in numbers.items()}
        for name, numbers in errors.items()
    }


SETS = {
    "unseen molecules": ("test", of_molecules),
    "larger molecules": ("larger", of_molecules),
    "unseen pairs": ("test_dimers", of_pairs),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file, or by its name one that comes with equitensor")
    parser.add_argument("data", type=Path, help="the folder that prepare.py made")
    parser.add_argument("--stages", nargs="+", default=STAGES, help="of the labels; default: those of GFN2-xTB")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        errors = evaluate(options.model, options.data, options.stages)
    except InputError as error:
        sys.exit(f"error: {error}")
    for name, numbers in errors.items():
        print(name)
        for what, value in numbers.items():
            print(f"    {what:45} {value:g}")
    for name, (part, _) in SETS.items():
        if name not in errors:
            print(f"{name}: not measured, since there is no folder {options.data / part}")
    if options.json:
        options.json.write_text(json.dumps(errors, indent=2) + "\n")


if __name__ == "__main__":
    main()
