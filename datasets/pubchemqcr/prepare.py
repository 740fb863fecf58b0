"""Make a store from PubChemQCR files that you have downloaded (Data01.lmdb ... or the folder of them).

    python datasets/pubchemqcr/prepare.py Data06.lmdb runs/pubchemqcr/train.lmdb

The two DFT stages are read: one level of theory. `--stages hf` reads another one instead. `--split FILE --subset train`
reads the molecules of one part of a split.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from equitensor.data import convert, coverage, coverage_table
from equitensor.data.formats.pubchemqcr import DFT_STAGES, LEVELS
from equitensor.errors import InputError


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+", help="LMDB files or a folder of them")
    parser.add_argument("out", type=Path, help="the store to write")
    parser.add_argument("--stages", nargs="+", choices=list(LEVELS), default=list(DFT_STAGES))
    parser.add_argument("--split", metavar="FILE", help="a split by molecule, JSON or text")
    parser.add_argument("--subset", metavar="NAME", help="which part of it: train, val, test")
    args = parser.parse_args()
    split = {"split_file": args.split, "subset": args.subset}
    try:
        store = convert(args.source, args.out, format="pubchemqcr", stages=args.stages, **split)
        Console().print(coverage_table([coverage(store)]))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
