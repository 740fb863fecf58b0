"""What a model can be asked about: finite values, a cell that spans space, no two atoms in one place."""

import numpy as np
from numpy.typing import ArrayLike

from equitensor.errors import InputError

TOO_CLOSE = 1e-3  # Angstrom
_FARTHEST = 1e8  # Angstrom; float64 still resolves 1e-8 there, and counts of cells fit into 32 bits
_SMALLEST_VOLUME = 0.5  # Angstrom^3 per atom; hydrogen at 500 GPa has about 1
_THICKNESS = 3.0  # Angstrom that an atom takes up along a direction without periodicity
_FLATTEST = 1e-4  # smallest singular value of the periodic unit vectors
_WEIGHTS = np.array([1.0, 3.0, 7.0])  # of the coordinates in a sum
_MANY = 8  # pairs an atom from which a tree is quicker


def check_geometry(pos: ArrayLike, cell: ArrayLike, pbc: ArrayLike) -> None:
    """Raise InputError (a ValueError) if a structure cannot have a meaningful energy.

    This is the case for everything that `check_cell_and_extent` refuses, and for two atoms in the same place, nearer
    than 0.001 Angstrom, periodic images included. Takes time n log n and memory n for n atoms.

    Args: pos (n, 3) and cell (3, 3) in Angstrom, rows of cell are lattice vectors; pbc (3,) bool.
    """
    check_cell_and_extent(pos, cell, pbc)
    if (pair := _coincident_atoms(pos, cell, pbc)) is not None:
        i, j = pair
        copies = " (through the periodic cell)" if np.any(pbc) else ""
        raise InputError(f"atoms {i} and {j} are in the same place{copies}, nearer than {TOO_CLOSE} Angstrom")


def check_cell_and_extent(pos: ArrayLike, cell: ArrayLike, pbc: ArrayLike) -> None:
    """Raise InputError for positions or a cell that no neighbour search can take, in time n.

    That is: values that are not finite, atoms farther than 1e8 Angstrom from the origin, periodic directions that
    the lattice vectors do not span, a placeholder cell (PDB's CRYST1 1 1 1) with less than 0.5 Angstrom^3 an atom.
    Arguments as for `check_geometry`.
    """
    pos, cell, pbc = np.asarray(pos, np.float64), np.asarray(cell, np.float64), np.asarray(pbc, bool)
    check_positions(pos)
    check_cell(cell, pbc)
    if not pbc.any() or len(pos) == 0:
        return
    volume = _volume_per_atom(pos, cell, pbc)
    if volume <= _SMALLEST_VOLUME:
        raise InputError(
            f"the cell {cell.tolist()} looks like a placeholder: it leaves {volume:.2g} Angstrom^3 to each of "
            f"{len(pos)} atoms; give the structure its cell (in Angstrom), or make it a molecule (pbc = False)"
        )


def check_cell(cell, pbc):
    """Raise InputError where the lattice vectors are not finite or do not span the periodic directions.

    Arguments as for `check_geometry`.
    """
    if not np.isfinite(cell).all():
        raise InputError(f"the cell {cell.tolist()} holds values that are not finite")
    vectors = cell[pbc]
    lengths = np.linalg.norm(vectors, axis=1)
    names = [name for name, periodic in zip("abc", pbc, strict=True) if periodic]
    if not lengths.all():
        raise InputError(
            f"the structure is periodic along {', '.join(names)}, but along {names[int(np.argmin(lengths))]} its cell "
            "has no lattice vector: give it a cell, or make it a molecule (pbc = False)"
        )
    if len(vectors) and _is_flat(vectors / lengths[:, None]):
        raise InputError(
            f"the structure is periodic along {', '.join(names)}, but its cell {cell.tolist()} does not span these: "
            "the lattice vectors depend on each other; repair the cell, or make it a molecule (pbc = False)"
        )


def _is_flat(units) -> bool:
    """Whether unit vectors (k, 3) have a singular value below `_FLATTEST`."""
    # The others are at most sqrt(3), so that of three vectors the smallest is at least a third of the volume.
    if len(units) == 3 and _volume(units) > 3 * _FLATTEST:
        return False
    return bool(np.linalg.svd(units, compute_uv=False)[-1] < _FLATTEST)


def _volume(cell) -> float:
    """|det| of (3, 3); for one matrix numpy's own takes ten times as long."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = cell.tolist()
    return abs(ax * (by * cz - bz * cy) - ay * (bx * cz - bz * cx) + az * (bx * cy - by * cx))


def full_cell(cell, pbc) -> np.ndarray:
    """The cell with unit vectors, normal to the others, along directions that are not periodic."""
    cell, pbc = np.array(cell, dtype=np.float64), np.asarray(pbc, bool)
    if not pbc.any():
        return np.eye(3)
    missing = np.flatnonzero(~pbc)
    if len(missing):
        _, _, normals = np.linalg.svd(cell[pbc])
        cell[missing] = normals[3 - len(missing) :]
    return cell


def check_positions(pos):
    """Raise InputError for positions (n, 3) that are not finite or farther than 1e8 Angstrom from the origin."""
    if not np.isfinite(pos).all():
        raise InputError(f"the position of atom {int(np.argwhere(~np.isfinite(pos))[0, 0])} is not finite")
    if len(pos) and np.abs(pos).max() > _FARTHEST:
        atom = int(np.argmax(np.abs(pos).max(axis=1)))
        raise InputError(
            f"atom {atom} is {np.abs(pos[atom]).max():.3g} Angstrom from the origin: "
            "a damaged file, or a simulation that has flown apart"
        )


def _volume_per_atom(pos, cell, pbc) -> float:
    """Angstrom^3; along directions without periodicity the atoms' extent and the thickness of one count."""
    full = full_cell(cell, pbc)
    if pbc.all():
        return _volume(full) / len(pos)
    heights = pos @ full[~pbc].T  # unit normals
    thickness = np.ptp(heights, axis=0) + _THICKNESS
    return _volume(full) * thickness.prod() / len(pos)


def _coincident_atoms(pos, cell, pbc) -> tuple[int, int] | None:
    """Indices of two atoms in one place, or None.

    Coordinates along the lattice are measured in units of what `TOO_CLOSE` can change them by, in which two such
    atoms differ by at most 1 in each.
    """
    if len(pos) < 2:
        return None
    pbc, full = np.asarray(pbc, bool), full_cell(cell, pbc)
    inverse = np.linalg.inv(full)
    unit = TOO_CLOSE * np.sqrt(np.square(inverse).sum(axis=0))
    fractional = pos @ inverse
    pairs = _near_along_a_line(fractional, unit, pbc)
    first, second = _nearest_by_tree(fractional, unit, pbc) if pairs is None else pairs
    if len(first) == 0:
        return None
    difference = fractional[second] - fractional[first]
    difference -= np.where(pbc, np.round(difference), 0.0)
    close = np.flatnonzero(np.linalg.norm(difference @ full, axis=1) < TOO_CLOSE)
    if len(close) == 0:
        return None
    pairs = np.sort(np.stack([first[close], second[close]], axis=1), axis=1)
    return min(map(tuple, pairs.tolist()))


def _near_along_a_line(fractional, unit, pbc):
    """Pairs that are near in one sum of their coordinates, which two atoms in one place are; None for very many.

    Where all directions are periodic, whole numbers as weights make the sum periodic too.
    """
    periodic = bool(pbc.all())
    if pbc.any() and not periodic:
        return None
    places = fractional @ _WEIGHTS
    places = places - np.floor(places) if periodic else places
    order = np.argsort(places)
    places, n = places[order], len(order)
    reach, steps, pairs, count = float(unit @ _WEIGHTS) + 1e-12 * max(1.0, abs(places[0]), abs(places[-1])), 0, [], 0
    twice = np.concatenate([places, places + 1.0]) if periodic else places
    while steps < n - 1:
        steps += 1
        ahead = twice[steps : steps + n]
        near = np.flatnonzero(ahead - places[: len(ahead)] <= reach)
        if len(near) == 0:
            break
        count += len(near)
        if count > _MANY * n:
            return None
        pairs.append((order[near], order[(near + steps) % n]))
    if not pairs:
        return order[:0], order[:0]
    return tuple(np.concatenate(each) for each in zip(*pairs, strict=True))


def _nearest_by_tree(fractional, unit, pbc):
    """Each atom with another one near it, and that one, by a k-d tree."""
    from scipy.spatial import cKDTree  # slow to import, rarely needed

    n, size = len(fractional), np.where(pbc, 1.0, 0.0) / unit
    wrapped = (fractional - np.where(pbc, np.floor(fractional), 0.0)) / unit
    wrapped[:, pbc] = np.minimum(wrapped, np.nextafter(size, 0))[:, pbc]  # rounding may reach the far face
    tree = cKDTree(wrapped, boxsize=size)
    _, nearest = tree.query(tree.data, k=2, p=np.inf, distance_upper_bound=1.0)
    first, second = nearest.T
    other = np.where(first == np.arange(n), second, first)
    candidates = np.flatnonzero(other < n)  # n stands for none
    return candidates, other[candidates]
