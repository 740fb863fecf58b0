"""A structure for LAMMPS, and what its input prints."""

import re

import numpy as np
from ase.build import bulk

from equitensor.interfaces.lammps import inputs, program


def alloy(repeat, seed=0, displacement=0.1):
    atoms = bulk("Cu", cubic=True).repeat(repeat)
    rng = np.random.default_rng(seed)
    atoms.symbols[rng.random(len(atoms)) < 0.4] = "Al"
    atoms.positions += displacement * rng.standard_normal(atoms.positions.shape)
    return atoms


def parsed(printed, word="found"):
    """The numbers of the line that the input printed after a word."""
    return np.array(re.search(rf"^{word} (.*)$", printed, re.MULTILINE)[1].split(), dtype=float)


def shown(word, *names):
    """The input that prints such a line."""
    return f'print "{word} {" ".join(f"$({name}:%.15g)" for name in names)}"\n'


ENERGY = "run 0\n" + shown("found", "pe")


def runner(potential, folder):
    """run(lines): run lines after the pair style on the alloy in a folder; gives what was printed."""

    def run(lines, atoms=None, ranks=2, pair=None, first="", units="metal", ending="", threads=1):
        box = inputs.box(alloy((3, 3, 3)) if atoms is None else atoms)
        inputs.write_data(folder / "atoms.data", box)
        head = inputs.setup(box, "atoms.data", potential, "float64").replace("units metal", f"units {units}")
        if pair is not None:
            head = head[: head.index("pair_style")] + pair.format(model=potential, types=" ".join(box.symbols))
        return program.run(first + head + lines + ending, folder, ranks, threads, timeout=120)

    return run
