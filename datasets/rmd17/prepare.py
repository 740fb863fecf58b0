"""Make a store of one molecule from the unpacked folder `rmd17` that you have downloaded.

    python datasets/rmd17/prepare.py rmd17 aspirin runs/rmd17/train.lmdb --split 1

The 1000 frames of a published split, in eV and Angstrom (the files hold kcal/mol).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from ase import units
from rich.console import Console

from equitensor.data import StoreWriter, coverage, coverage_table, open_snapshots
from equitensor.data.checks import checked
from equitensor.errors import InputError
from equitensor.graph import Structure


def structures(folder, molecule, part, split):
    """The frames of one part of a split, as Structure."""
    data_file = folder / "npz_data" / f"rmd17_{molecule}.npz"
    index_file = folder / "splits" / f"index_{part}_{split:02d}.csv"
    for file in (data_file, index_file):
        if not file.is_file():
            raise InputError(f"{file}: no such file; give the folder that rmd17.tar.bz2 unpacks to")
    kcal = units.kcal / units.mol
    with np.load(data_file, allow_pickle=False) as data:
        z, pos = data["nuclear_charges"].astype(np.int64), data["coords"].astype(np.float64)
        energies, forces = data["energies"] * kcal, data["forces"] * kcal
    for i in np.loadtxt(index_file, dtype=np.int64):
        yield Structure(
            z=z,
            pos=pos[i],
            cell=np.zeros((3, 3)),
            pbc=np.zeros(3, dtype=bool),
            energy=float(energies[i]),
            forces=forces[i],
            source=f"{data_file.name}, frame {i}",
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder that rmd17.tar.bz2 unpacks to")
    parser.add_argument("molecule", help="aspirin, malonaldehyde, ...")
    parser.add_argument("out", type=Path, help="the store to write")
    parser.add_argument("--split", type=int, choices=range(1, 6), default=1)
    parser.add_argument("--part", choices=("train", "test"), default="train")
    parser.add_argument("--overwrite", action="store_true", help="replace the store if it exists")
    args = parser.parse_args()
    try:
        with StoreWriter(args.out, overwrite=args.overwrite) as writer:
            for structure in checked(structures(args.folder, args.molecule, args.part, args.split)):
                writer.add(structure)
            options = {"molecule": args.molecule, "split": args.split, "part": args.part}
            writer.finish({"sources": [{"path": str(args.folder)}], "options": options})
        Console().print(coverage_table([coverage(open_snapshots(args.out))]))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
