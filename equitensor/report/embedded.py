"""Which structures a page holds, and what it holds of each: a page of any run stays below a few megabytes."""

import itertools

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula

from equitensor.graph import Structure
from equitensor.graph.labels import FORCES
from equitensor.report.comparison import Comparison
from equitensor.training.compared import compared

STRUCTURES, ATOMS = 200, 16_000  # that a page holds at most, shared out over the parts of the data
WORST = 0.5  # share of these that have the largest errors; the others are drawn at random
_LENGTH, _FORCE = 3, 4  # decimals of Angstrom and eV/Angstrom


def choose(compared: list[Comparison], sizes: np.ndarray, parts: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Places of the structures with the largest errors, worst first, and of a random sample of the others.

    Worst by each label in turn, by root mean square and by largest component. sizes (n,): atoms of each structure.
    """
    most, atoms = max(10, STRUCTURES // parts), ATOMS // parts
    worst = _within(_by_error(compared, len(sizes)), sizes, int(WORST * most), atoms)
    others = np.setdiff1d(np.arange(len(sizes)), worst)
    drawn = np.random.default_rng(seed).permutation(others).tolist()
    return worst, sorted(_within(drawn, sizes, most - len(worst), atoms - int(sizes[worst].sum())))


def _by_error(compared: list[Comparison], n: int) -> list[int]:
    """Places of structures with labels, each once."""
    orders = []
    for each in compared:
        for score in (each.rms(n), each.largest(n)[0]):
            order = np.argsort(-score, kind="stable")  # nan last
            orders.append([int(k) for k in order if not np.isnan(score[k])])
    turns = itertools.chain.from_iterable(itertools.zip_longest(*orders))
    return list(dict.fromkeys(k for k in turns if k is not None))


def _within(places: list[int], sizes: np.ndarray, most: int, atoms: int) -> list[int]:
    """The first of these, that many at most, leaving out one that does not go into the atoms that are left."""
    kept: list[int] = []
    for k in places:
        if len(kept) < most and sizes[k] <= atoms:
            kept.append(k)
            atoms -= int(sizes[k])
    return kept


def geometry(label: Structure, prediction: Structure) -> dict:
    """Symbols, positions and errors of forces (flat, rounded; null on atoms that do not count), and the cell."""
    held = {"symbols": [chemical_symbols[z] for z in label.z], "pos": _rounded(label.pos, _LENGTH)}
    if label.pbc.any():
        held |= {"cell": _rounded(label.cell, _LENGTH), "pbc": [bool(p) for p in label.pbc]}
    if compared(FORCES, label, prediction) is not None:
        held["force_error"] = _rounded(np.asarray(prediction.forces) - label.forces, _FORCE)
    return held


def formula(structure: Structure) -> str:
    return Formula.from_list([chemical_symbols[z] for z in structure.z]).format("hill")


def _rounded(values: np.ndarray, decimals: int) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), decimals) + 0.0 for v in np.ravel(values)]
