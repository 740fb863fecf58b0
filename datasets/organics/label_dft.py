"""Label frames with B3LYP/6-31G*, the level of theory of PubChemQCR, in its layout: stage b3lyp.

    pip install pyscf lmdb
    OMP_NUM_THREADS=1 python datasets/organics/label_dft.py runs/organics/dft/train "runs/organics/train*.lmdb" \\
        --molecules 1500 --processes 2

Neutral closed-shell molecules of few heavy atoms and frames of each, drawn by the seed. A shard is one LMDB file of 20
molecules; shards that are there are not made again, so a run that was stopped goes on.

Cartesian d functions give the energies in PubChemQCR's own records to 1e-6 Hartree. Density fitting and a coarser grid
take half of the time and change forces by 0.4 meV/Angstrom in the mean, energies by less than 0.1 mHartree.
"""

import argparse
import glob
import importlib.util
import itertools
import multiprocessing
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from shards import BOHR, SHARD, Frame, begin, begun, record, write

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
    """The snapshots of stores, and of folders of prepare.py, which patterns may name."""
    paths = [path for each in sources for path in sorted(glob.glob(each)) or [each]]
    return open_snapshots([{"path": path} | OF_FOLDERS if Path(path).is_dir() else path for path in paths])


def chosen(snapshots: Snapshots, molecules: int, frames: int, heavy: int, seed: int) -> list[list[Structure]]:
    """Structures of so many molecules with at most `heavy` heavy atoms, at most `frames` of each, in random order.

    Raises InputError where there are fewer molecules, and for structures that are of none, or no closed shells, or of
    pairs whose halves are beside them and would be drawn apart.
    """
    index = snapshots.index
    hydrogens = index.compositions.table(index.composition, [1])[:, 0]
    small = np.flatnonzero(index.atoms - hydrogens <= heavy)
    of_molecule = defaultdict(list)
    if (index.group[small] < 0).any():
        raise InputError(f"{snapshots.name}: which structures are of one molecule is not known: no groups in it")
    for i in np.random.default_rng(seed).permutation(small):
        of_molecule[index.group[i]].append(int(i))
    if len(of_molecule) < molecules:
        count = f"{len(of_molecule)} molecules of at most {heavy} heavy atoms"
        raise InputError(
            f"{snapshots.name}: {count}, not {molecules}: choose fewer (--molecules) or larger ones (--heavy)"
        )
    rows = [[snapshots[i] for i in own[:frames]] for own in itertools.islice(of_molecule.values(), molecules)]
    for first in (row[0] for row in rows):
        if first.z.sum() % 2:
            raise InputError(f"{first.source}: an odd number of electrons, but only closed shells are labelled")
        if first.group.startswith("cid test_dimers"):
            raise InputError(f"{first.source}: a pair would be labelled in other frames than its halves; leave it out")
    return rows


def choice_of(options: argparse.Namespace, snapshots: Snapshots) -> dict:
    """What decides which molecules are in which shard."""
    asked = {name: getattr(options, name) for name in ("sources", "molecules", "frames", "heavy", "seed")}
    return asked | {"structures": len(snapshots)}


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
    for name in ("molecules", "frames", "processes"):
        if (count := getattr(options, name)) < 1:
            parser.error(f"--{name} {count}: one at least")
    if importlib.util.find_spec("pyscf") is None:
        sys.exit("error: labels are computed by PySCF, which is not installed: pip install pyscf")
    try:
        snapshots = opened(options.sources)
        molecules = chosen(snapshots, options.molecules, options.frames, options.heavy, options.seed)
    except InputError as error:
        sys.exit(f"error: {error}")
    options.out.mkdir(parents=True, exist_ok=True)
    choice = choice_of(options, snapshots)
    if not begun(options.out, choice):
        begin(options.out, choice)
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
