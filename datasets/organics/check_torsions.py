"""Torsional profiles of fragments of drugs (torsions.yaml), by a model and by GFN2-xTB.

    OMP_NUM_THREADS=1 python datasets/organics/check_torsions.py organics runs/organics/data

At each dihedral both relax all else, until no force exceeds 0.01 eV/Angstrom, from the same start: the minimum of
MMFF94 with that dihedral. Energies are beside the lowest of each profile. Results are kept after each fragment; a call
that was stopped goes on. docs/figures/torsions.py draws them.
"""

import argparse
import csv
import itertools
import sys
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.constraints import FixInternals
from ase.optimize import BFGS
from ase.units import kcal, mol
from geometries import conformers, turned
from rdkit import Chem
from results import FOLDER, Results, about
from xtb import GFN2, VERSIONS

from equitensor import Calculator
from equitensor.errors import InputError

HERE = Path(__file__).parent
FMAX = 0.01  # eV/Angstrom
STEPS = 300
KCAL_MOL = kcal / mol  # eV


def profile(starts: dict[int, np.ndarray], numbers, dihedral: list[int], calc) -> list[float | None]:
    """Relaxed energies (kcal/mol) beside the lowest; None where there is none."""
    energies = [_relaxed(Atoms(numbers, x), dihedral, degrees, calc) for degrees, x in starts.items()]
    lowest = min(energy for energy in energies if energy is not None)
    return [None if energy is None else round((energy - lowest) / KCAL_MOL, 3) for energy in energies]


def _relaxed(atoms: Atoms, dihedral: list[int], degrees: float, calc) -> float | None:
    """eV, with that dihedral."""
    atoms.set_constraint(FixInternals(dihedrals_deg=[[degrees, dihedral]], epsilon=1e-6))
    atoms.calc = calc
    optimizer = BFGS(atoms, logfile=None, maxstep=0.1)
    try:
        converged = optimizer.run(fmax=FMAX, steps=STEPS)
    except (CalculationFailed, ValueError):  # ASE's ValueError: the dihedral cannot be brought back
        return None
    return atoms.get_potential_energy() if converged else None


def measure(smiles: str, calc, step: int) -> dict:
    """Both profiles of a fragment, and how far they are apart."""
    mol = conformers(smiles, 1, 0)
    places = {atom.GetAtomMapNum(): atom.GetIdx() for atom in mol.GetAtoms()}
    dihedral, numbers = [places[k] for k in (1, 2, 3, 4)], [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    angles = range(-180, 180, step)
    starts = {degrees: turned(mol, dihedral, degrees) for degrees in angles}
    ours, reference = (profile(starts, numbers, dihedral, each) for each in (calc, GFN2()))
    pairs = np.array([pair for pair in zip(ours, reference, strict=True) if None not in pair])
    errors = np.abs(pairs[:, 0] - pairs[:, 1])
    return {
        "smiles": smiles,
        "degrees": list(angles),
        "model (kcal/mol)": ours,
        "GFN2-xTB (kcal/mol)": reference,
        "MAE (kcal/mol)": round(float(errors.mean()), 3),
        "largest error (kcal/mol)": round(float(errors.max()), 3),
        "barriers (kcal/mol)": [round(float(most), 2) for most in pairs.max(0)],
    }


def known(folder: Path) -> set[str]:
    """SMILES of all that was trained on, as RDKit writes them."""
    with open(folder / "molecules.csv", newline="") as file:
        return {row["smiles"] for row in csv.DictReader(file) if row["part"] == "train"}


def canonical(smiles: str) -> str:
    """Without the marks of the dihedral."""
    mol = Chem.MolFromSmiles(smiles)
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
    return Chem.CanonSmiles(Chem.MolToSmiles(mol))


def summary(pieces: dict[str, dict]) -> dict[str, dict]:
    """Of each fragment, and the mean over them."""
    kept = ("in training", "MAE (kcal/mol)", "largest error (kcal/mol)", "barriers (kcal/mol)")
    rows = {name: {key: piece[key] for key in kept} for name, piece in pieces.items()}
    mean = round(float(np.mean([piece["MAE (kcal/mol)"] for piece in pieces.values()])), 3)
    return {**rows, "all": {"fragments": len(pieces), "MAE (kcal/mol)": mean}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file, or by its name one that comes with equitensor")
    parser.add_argument("data", type=Path, nargs="+", help="folders of prepare.py: what was trained on, of their lists")
    parser.add_argument("--step", type=int, default=15, help="degrees")
    parser.add_argument("--fragments", type=int, help="the first ones only")
    parser.add_argument("--out", type=Path, default=FOLDER / "torsions.json")
    parser.add_argument("--again", action="store_true", help="throw away the results that are there")
    options = parser.parse_args()
    fragments = yaml.safe_load((HERE / "torsions.yaml").read_text())
    trained = set().union(*map(known, options.data))
    try:
        calc = Calculator(options.model, device="cpu", dtype="float32", threads=1, error_bars=False)
        results = Results(options.out, about(options.model, step=options.step), summary, options.again, **VERSIONS)
        for name, smiles in itertools.islice(fragments.items(), options.fragments):
            if name not in results.pieces:
                results.add(name, {"in training": canonical(smiles) in trained, **measure(smiles, calc, options.step)})
                print(name, summary(results.pieces)[name], flush=True)
    except InputError as error:
        sys.exit(f"error: {error}")
    print(summary(results.pieces)["all"])


if __name__ == "__main__":
    main()
