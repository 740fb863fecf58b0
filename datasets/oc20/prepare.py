"""Make a store from OC20 files that you have downloaded, in any of their published layouts.

    python datasets/oc20/prepare.py s2ef_lmdb/train runs/oc20/train.lmdb
    python datasets/oc20/prepare.py s2ef_lmdb/val runs/oc20/test.lmdb --elements-of runs/oc20/train.lmdb

Unlike `equitensor data convert` it leaves out, and counts, frames in which a force is beyond what a
relaxation should meet, and frames with elements that another store does not have (a model cannot know them).
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from rich.console import Console

from equitensor.data import Store, StoreWriter, coverage, coverage_table
from equitensor.data.snapshots import find_sources, read_sources
from equitensor.errors import InputError


def prepare(source, out, max_force, elements_of=None, **options):
    """Write the frames to be kept into a store at `out`; print what was left out and what is in it."""
    known = None if elements_of is None else set(Store(elements_of).elements)
    left_out = Counter()
    with StoreWriter(out) as writer:
        for structure in read_sources(list(find_sources(source)), **options):
            reason = reason_to_leave_out(structure, max_force, known)
            if reason:
                left_out[reason, structure.group] += 1
            else:
                writer.add(structure)
        writer.finish({"source": str(source), "max_force": max_force, "elements_of": str(elements_of)})
    for (reason, group), count in sorted(left_out.items()):
        print(f"left out: {count} frames of {group}: {reason}")
    Console().print(coverage_table([coverage(Store(out))]))


def reason_to_leave_out(structure, max_force, known):
    """Why a structure is not wanted, in words, or None."""
    if structure.forces is not None and np.abs(structure.forces).max(initial=0) > max_force:
        return f"a force component over {max_force:g} eV/Angstrom"
    strangers = set() if known is None else set(structure.z.tolist()) - known
    if strangers:
        return "elements not in the other store: " + ", ".join(chemical_symbols[z] for z in sorted(strangers))
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="LMDB file or folder of shards, .aselmdb, or raw .extxyz.xz")
    parser.add_argument("out", type=Path, help="the store to write")
    parser.add_argument("--max-force", type=float, default=50.0, help="eV/Angstrom; default 50")
    parser.add_argument("--elements-of", type=Path, help="a store: leave out frames with other elements")
    parser.add_argument("--relaxed", action="store_true", default=None, help="IS2RE: the relaxed structures")
    parser.add_argument("--total", action="store_true", default=None, help="raw files: total energies")
    try:
        prepare(**vars(parser.parse_args()))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
