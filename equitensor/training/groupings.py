"""By what tables of errors are split: properties of a structure, or of its atoms."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from equitensor.graph import Structure

NO_GROUP = "(none)"  # of structures without a config_type
_TAGS = {0: "0 sub-surface", 1: "1 surface", 2: "2 adsorbate"}  # OC20's


@dataclass(frozen=True)
class Grouping:
    """name: "by_<name>" is its key in JSON; title: of its table; key(structure): that of the structure or, per atom,
    of each atom (whole numbers), None where there is none; show: a key in words; least: groups from which on it is of
    interest."""

    name: str
    title: str
    key: Callable[[Structure], str | int | np.ndarray | None]
    per_atom: bool = False
    show: Callable = str
    least: int = 1


def _size(structure: Structure) -> int:
    """The power of two up to which its number of atoms reaches."""
    return len(structure).bit_length() - 1


def _sizes(power: int) -> str:
    low, high = 2**power, 2 ** (power + 1) - 1
    return "1 atom" if low == high else f"{low} to {high} atoms"


CONFIG_TYPE = Grouping("config_type", "Errors by config_type", lambda structure: structure.config_type or NO_GROUP)
SIZE = Grouping("size", "Errors by size", _size, show=_sizes, least=2)
ELEMENT = Grouping("element", "Errors by element", lambda structure: structure.z, True, lambda z: chemical_symbols[z])
TAG = Grouping("tag", "Errors by tag", lambda structure: structure.tags, True, lambda tag: _TAGS.get(tag, str(tag)))
GROUPINGS = (CONFIG_TYPE, SIZE, ELEMENT, TAG)
