"""Make the training store from the folder `dataset_acac` that you have downloaded.

    python datasets/acac/prepare.py dataset_acac runs/acac/train.lmdb

It holds the training frames and the isolated atoms (for the E0s). Test files are read as they are by `equitensor eval`.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from equitensor.data import convert, coverage, coverage_table
from equitensor.errors import InputError


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder that holds train_300K.xyz and isolated_atoms.xyz")
    parser.add_argument("out", type=Path, help="the store to write")
    parser.add_argument("--overwrite", action="store_true", help="replace it if it exists")
    args = parser.parse_args()
    sources = [args.folder / "train_300K.xyz", args.folder / "isolated_atoms.xyz"]
    try:
        store = convert(sources, args.out, overwrite=args.overwrite)
        Console().print(coverage_table([coverage(store)]))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
