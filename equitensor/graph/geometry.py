"""What a model can be asked about: finite numbers, a cell that spans space, no two atoms in one place."""

import numpy as np

from equitensor.errors import InputError

TOO_CLOSE = 1e-3  # Angstrom
_FARTHEST = 1e8  # Angstrom; float64 still resolves 1e-8 there, and counts of cells fit into 32 bits
_SMALLEST_VOLUME = 0.5  # Angstrom^3 per atom; hydrogen at 500 GPa has about 1
_THICKNESS = 3.0  # Angstrom that an atom takes up along a direction without periodicity
_FLATTEST = 1e-4  # smallest singular value of the periodic unit vectors


def check_geometry(pos, cell, pbc):
    """Raise InputError (a ValueError) with a sentence where no energy of a structure has a meaning.

    That is: what `check_cell_and_extent` refuses, and two atoms in one place (periodic images included), nearer than
    0.001 Angstrom. Time n log n and memory n for n atoms.

    Args: pos (n, 3) and cell (3, 3) in Angstrom, rows of cell are lattice vectors; pbc (3,) bool.
    """
    check_cell_and_extent(pos, cell, pbc)
    if (pair := _coincident_atoms(pos, cell, pbc)) is not None:
        i, j = pair
        copies = " (through the periodic cell)" if np.any(pbc) else ""
        raise InputError(f"atoms {i} and {j} are in the same place{copies}, nearer than {TOO_CLOSE} Angstrom")


def check_cell_and_extent(pos, cell, pbc):
    """Raise InputError for positions or a cell that no neighbour search can take, in time n.

    That is: numbers that are not finite, atoms farther than 1e8 Angstrom from the origin, periodic directions that
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
        raise InputError(f"the cell {cell.tolist()} holds numbers that are not finite")
    vectors = cell[pbc]
    lengths = np.linalg.norm(vectors, axis=1)
    names = [name for name, periodic in zip("abc", pbc, strict=True) if periodic]
    if not lengths.all():
        raise InputError(
            f"the structure is periodic along {', '.join(names)}, but along {names[int(np.argmin(lengths))]} its cell "
            "has no lattice vector: give it a cell, or make it a molecule (pbc = False)"
        )
    if len(vectors) and np.linalg.svd(vectors / lengths[:, None], compute_uv=False)[-1] < _FLATTEST:
        raise InputError(
            f"the structure is periodic along {', '.join(names)}, but its cell {cell.tolist()} does not span these: "
            "the lattice vectors depend on each other; repair the cell, or make it a molecule (pbc = False)"
        )


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
    along = pos @ full[~pbc].T  # unit normals
    thickness = np.ptp(along, axis=0) + _THICKNESS
    return abs(np.linalg.det(full)) * thickness.prod() / len(pos)


def _coincident_atoms(pos, cell, pbc) -> tuple[int, int] | None:
    """Indices of two atoms in one place, or None.

    Coordinates along the lattice are measured in units of what `TOO_CLOSE` can change them by, in which two such
    atoms differ by at most 1 in each; a k-d tree finds the nearest atom, and the true distance decides.
    """
    if len(pos) < 2:
        return None
    from scipy.spatial import cKDTree  # slow to import, not needed for evaluating a potential

    pbc, full = np.asarray(pbc, bool), full_cell(cell, pbc)
    inverse = np.linalg.inv(full)
    unit = TOO_CLOSE * np.linalg.norm(inverse, axis=0)
    fractional = pos @ inverse
    size = np.where(pbc, 1.0, 0.0) / unit
    wrapped = (fractional - np.where(pbc, np.floor(fractional), 0.0)) / unit
    wrapped[:, pbc] = np.minimum(wrapped, np.nextafter(size, 0))[:, pbc]  # rounding may reach the far face
    tree = cKDTree(wrapped, boxsize=size)
    _, nearest = tree.query(tree.data, k=2, p=np.inf, distance_upper_bound=1.0)
    first, second = nearest.T
    other = np.where(first == np.arange(len(pos)), second, first)
    candidates = np.flatnonzero(other < len(pos))  # len(pos) stands for none
    difference = fractional[other[candidates]] - fractional[candidates]
    difference -= np.where(pbc, np.round(difference), 0.0)
    close = np.linalg.norm(difference @ full, axis=1) < TOO_CLOSE
    if not close.any():
        return None
    i = int(candidates[np.argmax(close)])
    return min(i, int(other[i])), max(i, int(other[i]))
