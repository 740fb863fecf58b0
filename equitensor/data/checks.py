"""Checks of each structure as it is read: what would spoil training is refused, with the record's name."""

from collections.abc import Iterable, Iterator

import numpy as np

from equitensor.errors import InputError
from equitensor.graph import Structure, check_geometry
from equitensor.graph.labels import labels

_LAST_ELEMENT = 118


def checked(structures: Iterable[Structure]) -> Iterator[Structure]:
    """The same structures; an InputError naming the record at the first that `check_structure` refuses."""
    for structure in structures:
        check_structure(structure)
        yield structure


def check_structure(structure: Structure):
    """Raises InputError for what cannot be learnt from, with the record's name.

    That is: no atoms, an element that does not exist, a shape that does not fit, values that are not
    finite, and what `graph.check_geometry` refuses: lattice vectors that do not span the periodic directions, a
    placeholder cell, two atoms in one place (periodic images included).
    """
    where, n = structure.source or "structure", len(structure)
    if n == 0:
        raise InputError(f"{where}: has no atoms")
    unknown = (structure.z < 1) | (structure.z > _LAST_ELEMENT)
    if unknown.any():
        atom = int(np.argmax(unknown))
        raise InputError(f"{where}: atom {atom} has atomic number {int(structure.z[atom])}: no element")
    for name, array, shape in (("pos", structure.pos, (n, 3)), ("cell", structure.cell, (3, 3))):
        _check_array(where, name, array, shape, "atom" if name == "pos" else "row")
    for label in labels():
        value = getattr(structure, label.name)
        if value is None:
            continue
        if label.full_shape(n):
            _check_array(where, label.name, np.asarray(value), label.full_shape(n), "atom" if label.per_atom else "row")
        elif not np.isfinite(value):
            raise InputError(f"{where}: the {label.name} is {value}; remove or repair this record")
    try:
        check_geometry(structure.pos, structure.cell, structure.pbc)
    except InputError as error:
        raise InputError(f"{where}: {error}; remove or repair this record") from None


def _check_array(where, name, array, shape, what):
    if array.shape != shape:
        raise InputError(f"{where}: {name} has shape {array.shape}, expected {shape}")
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argwhere(~finite)[0, 0])
        raise InputError(f"{where}: {name} of {what} {row} is {array[row].tolist()}; remove or repair this record")
