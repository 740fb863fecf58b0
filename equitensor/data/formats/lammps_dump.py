"""LAMMPS text dumps: positions and forces by type of atom; which element a type is stands elsewhere."""

import logging
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from equitensor.data.formats.xyz import head
from equitensor.errors import InputError

_log = logging.getLogger(__name__)


# Of LAMMPS's systems of units, as options of the reader; those of "lj" have no size.
_UNITS = {
    "metal": {"energy_unit": "eV", "length_unit": "Angstrom"},
    "real": {"energy_unit": "kcal/mol", "length_unit": "Angstrom"},
    "electron": {"energy_unit": "Hartree", "length_unit": "Bohr"},
}


def units(path: Path, given: dict) -> dict:
    """The units that a dump names (dump_modify units yes), else "metal", which is said where forces depend on it."""
    first = head(path, 40)
    named = next((after.strip() for line, after in pairwise(first) if line.strip() == "ITEM: UNITS"), None)
    if named is not None and named not in _UNITS and given.get("energy_unit") is None:
        raise InputError(f"{path}: a LAMMPS dump in units {named}; name them with energy_unit and length_unit")
    if named is None and " fx " in _columns(first) and given.get("energy_unit") is given.get("forces_unit") is None:
        _log.warning(
            "%s: the dump does not say its units; its forces are read in eV/Angstrom, as of units metal (energy_unit="
            "kcal/mol for units real)",
            path,
        )
    return {} if named is None else _UNITS.get(named, {})


def _columns(first):
    """The names of the columns in the first lines of a dump, each between blanks."""
    return next((f"{line[len('ITEM: ATOMS') :].rstrip()} " for line in first if line.startswith("ITEM: ATOMS")), "")


def frames(path: Path, elements: list[str] | None = None) -> Iterator:
    """The ase.Atoms of a dump, forces in the column "forces"; a dump has no energies.

    elements: the chemical symbols of types 1, 2, ...; needed where the dump has no column `element` (or `mass`).
    Raises InputError where it is needed and missing, or too short.
    """
    from ase.io import iread

    columns = _columns(head(path, 40)).split()
    read = iread(str(path), ":", format="lammps-dump-text", do_not_split_by_at_sign=True)
    for number, atoms in enumerate(read):
        types = atoms.arrays.pop("type", None)
        if elements is not None:
            atoms.set_chemical_symbols(_named(types, elements, f"{path}, frame {number}"))
        elif types is not None and _is_unnamed(atoms, types, columns):
            raise InputError(
                f"{path}: a LAMMPS dump with atoms of types {', '.join(map(str, np.unique(types)))} whose elements "
                "are not named; name them in the order of the types, as elements=[Si, O] (--elements Si O on the "
                "command line), or dump a column `element` with dump_modify element Si O"
            )
        if atoms.calc is not None:  # its energy of 0.0 is made up
            atoms.new_array("forces", atoms.calc.results["forces"])
            atoms.calc = None
        yield atoms


def _named(types, elements, where):
    if types is None:
        raise InputError(f"{where}: elements: this dump has no column `type`; leave the option out")
    if types.min() < 1 or types.max() > len(elements):
        raise InputError(f"{where}: elements names {len(elements)} types, but the dump has type {types.max()}")
    return [elements[kind - 1] for kind in types]


def _is_unnamed(atoms, types, columns):
    """Whether types are taken for atomic numbers, or LAMMPS wrote its default, C, for each of several types."""
    if "element" in columns:
        return len(np.unique(types)) > 1 and set(atoms.numbers) == {6}
    return "mass" not in columns
