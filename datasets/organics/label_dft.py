"""Label frames with B3LYP/6-31G*, the level of theory of PubChemQCR, in its layout: stage b3lyp.

    pip install pyscf lmdb
    OMP_NUM_THREADS=1 python datasets/organics/label_dft.py runs/organics/dft/train "runs/organics/train*.lmdb" \\
        --molecules 1500 --processes 2

Molecules of few heavy atoms and frames of each, drawn by the seed. A shard is one LMDB file of 20 molecules; shards
that are there are not made again, so a run that was stopped goes on.

Cartesian d functions give the energies in PubChemQCR's own records to 1e-6 Hartree. Density fitting and a coarser grid
take half of the time and change forces by 0.4 meV/Angstrom in the mean, energies by less than 0.1 mHartree.
"""

import argparse
import itertools
import json
import multiprocessing
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from shards import BOHR, SHARD, Frame, record, write

from equitensor.data import Snapshots, open_snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure

STAGE = "b3lyp"
OF_FOLDERS = {"stages": ["gfn2", "gfn2_md"]}


@dataclass(frozen=True)
class Task:
    """One shard: its molecules with their structures, where it goes."""

    molecules: list[list[Structure]]
    file: Path


def labelled(structure: Structure) -> Frame | None:
    """None where the orbitals do not converge."""
    from pyscf import dft, gto

    positions = structure.pos / BOHR
    atoms = [(chemical_symbols[z], x) for z, x in zip(structure.z, positions, strict=True)]
    molecule = gto.M(atom=atoms, unit="Bohr", basis="6-31g*", cart=True, verbose=0)
    orbitals = dft.RKS(molecule, xc="b3lyp").density_fit()
    orbitals.grids.level, orbitals.conv_tol = 2, 1e-7
    energy = orbitals.kernel()
    if not orbitals.converged:
        return None
    gradient = orbitals.nuc_grad_method()
    gradient.verbose = 0
    return Frame(positions, float(energy), gradient.kernel())


def opened(sources: list[str]) -> Snapshots:
    """The snapshots of stores, and of folders of prepare.py."""
    return open_snapshots([{"path": each} | OF_FOLDERS if Path(each).is_dir() else each for each in sources])


def chosen(snapshots: Snapshots, molecules: int, frames: int, heavy: int, seed: int) -> list[list[Structure]]:
    """Structures of so many molecules with at most `heavy` heavy atoms, at most `frames` of each, in random order.

    Raises InputError where there are fewer molecules.
    """
    index = snapshots.index
    hydrogens = index.compositions.table(index.composition, [1])[:, 0]
    small = np.flatnonzero(index.atoms - hydrogens <= heavy)
    of_molecule = defaultdict(list)
    for i in np.random.default_rng(seed).permutation(small):
        of_molecule[index.group[i]].append(int(i))
    if len(of_molecule) < molecules:
        count = f"{len(of_molecule)} molecules of at most {heavy} heavy atoms"
        raise InputError(
            f"{snapshots.name}: {count}, not {molecules}: choose fewer (--molecules) or larger ones (--heavy)"
        )
    return [[snapshots[i] for i in own[:frames]] for own in itertools.islice(of_molecule.values(), molecules)]


def check_choice(options: argparse.Namespace) -> None:
    """Ends the program where the folder was begun with another choice of molecules: shards would not fit together."""
    made = options.out / "made.json"
    now = {name: getattr(options, name) for name in ("sources", "molecules", "frames", "heavy", "seed")}
    if made.exists() and (before := json.loads(made.read_text())) != now:
        sys.exit(f"error: {options.out} was begun with {before}, this is {now}: take another folder")
    made.write_text(json.dumps(now) + "\n")


def make(task: Task) -> str:
    """Write one shard; what came of it, in a line."""
    counts = Counter()
    return write(task.file, _records(task, counts), counts)


def _records(task: Task, counts: Counter):
    for structures in task.molecules:
        frames = [frame for structure in structures if (frame := labelled(structure)) is not None]
        counts["frames"] += len(frames)
        counts["frames whose orbitals do not converge"] += len(structures) - len(frames)
        symbols = [chemical_symbols[z] for z in structures[0].z]
        if frames:
            yield structures[0].group.removeprefix("cid "), record("", symbols, {STAGE: frames})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder")
    parser.add_argument("sources", nargs="+", help="stores, or folders of prepare.py")
    parser.add_argument("--molecules", type=int, required=True)
    parser.add_argument("--frames", type=int, default=1, help="of each molecule, at most; default %(default)s")
    parser.add_argument("--heavy", type=int, default=10, help="heavy atoms of a molecule, at most; default %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    try:
        molecules = chosen(opened(options.sources), options.molecules, options.frames, options.heavy, options.seed)
    except InputError as error:
        sys.exit(f"error: {error}")
    options.out.mkdir(parents=True, exist_ok=True)
    check_choice(options)
    tasks = [
        Task(molecules[start : start + SHARD], options.out / f"{start // SHARD:04}.lmdb")
        for start in range(0, len(molecules), SHARD)
    ]
    todo = [task for task in tasks if not task.file.exists()]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for line in pool.imap_unordered(make, todo):
            print(line, flush=True)


if __name__ == "__main__":
    main()
