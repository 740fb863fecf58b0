"""Checks of each structure as it is read: what would spoil training is refused, with the record's name."""

from collections.abc import Iterable, Iterator

import numpy as np

from equitensor.errors import InputError
from equitensor.graph import Structure, neighbor_list

_TOO_CLOSE = 1e-3  # Angstrom
_LAST_ELEMENT = 118


def checked(structures: Iterable[Structure]) -> Iterator[Structure]:
    """The same structures; an InputError naming the record at the first that `check_structure` refuses."""
    for structure in structures:
        check_structure(structure)
        yield structure


def check_structure(structure: Structure):
    """Raises InputError for what cannot be learnt from, with the record's name.

    That is: no atoms, an element that does not exist, a shape that does not fit, values that are not
    finite, a periodic direction without a lattice vector, two atoms in one place (periodic images
    included).
    """
    where, n = structure.source or "structure", len(structure)
    if n == 0:
        raise InputError(f"{where}: has no atoms")
    unknown = (structure.z < 1) | (structure.z > _LAST_ELEMENT)
    if unknown.any():
        atom = int(np.argmax(unknown))
        raise InputError(f"{where}: atom {atom} has atomic number {int(structure.z[atom])}: no element")
    for name, shape in (("pos", (n, 3)), ("forces", (n, 3)), ("stress", (3, 3)), ("cell", (3, 3))):
        _check_array(where, name, getattr(structure, name), shape)
    if structure.energy is not None and not np.isfinite(structure.energy):
        raise InputError(f"{where}: the energy is {structure.energy}")
    if any(p and not np.any(vector) for p, vector in zip(structure.pbc, structure.cell, strict=True)):
        raise InputError(f"{where}: periodic along a direction for which its cell has no lattice vector")
    _check_distances(where, structure)


def _check_array(where, name, array, shape):
    if array is None:
        return
    if array.shape != shape:
        raise InputError(f"{where}: {name} has shape {array.shape}, expected {shape}")
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argwhere(~finite)[0, 0])
        what = "row" if name in ("stress", "cell") else "atom"
        raise InputError(f"{where}: {name} of {what} {row} is {array[row].tolist()}; remove or repair this record")


def _check_distances(where, structure):
    found = _coincident_atoms(structure)
    if found is not None:
        i, j = found
        copies = " (through the periodic cell)" if structure.pbc.any() else ""
        raise InputError(f"{where}: atoms {i} and {j} are in the same place{copies}, nearer than {_TOO_CLOSE} Angstrom")


def _coincident_atoms(structure):
    """Indices of two atoms in one place, or None."""
    if len(structure) < 2:
        return None
    if structure.pbc.any():
        # Not by a neighbour list: with so small a cutoff it would make a huge number of bins.
        return _coincident_periodic(structure)
    return _first_close_pair(structure.pos)


def _coincident_periodic(structure):
    """By fractional coordinates wrapped to the nearest image: exact for distances far below the cell's."""
    pbc = structure.pbc
    if not pbc.all() or len(structure) > 2000:
        edges, shift, _ = neighbor_list(structure.pos, structure.cell, pbc, 0.5)
        vectors = structure.pos[edges[1]] - structure.pos[edges[0]] + shift @ structure.cell
        close = np.flatnonzero((vectors**2).sum(1) < _TOO_CLOSE**2)
        return None if len(close) == 0 else (int(edges[0, close[0]]), int(edges[1, close[0]]))
    fractional = structure.pos @ np.linalg.inv(structure.cell)
    difference = fractional[:, None] - fractional[None, :]
    difference -= np.round(difference)
    squared = ((difference @ structure.cell) ** 2).sum(-1)
    return _first_below(squared)


def _first_close_pair(pos):
    if len(pos) > 2000:
        edges, _, _ = neighbor_list(pos, np.zeros((3, 3)), np.zeros(3, bool), 0.5)
        distances = np.linalg.norm(pos[edges[0]] - pos[edges[1]], axis=1)
        close = np.flatnonzero(distances < _TOO_CLOSE)
        return None if len(close) == 0 else (int(edges[0, close[0]]), int(edges[1, close[0]]))
    difference = pos[:, None] - pos[None, :]
    return _first_below(np.einsum("ijk,ijk->ij", difference, difference))


def _first_below(squared):
    np.fill_diagonal(squared, np.inf)
    pairs = np.argwhere(squared < _TOO_CLOSE**2)
    return None if len(pairs) == 0 else (int(pairs[0, 0]), int(pairs[0, 1]))
