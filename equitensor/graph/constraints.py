"""Which directions ASE's constraints leave to each atom; ASE is imported where it is needed."""

import numpy as np


def held_directions(constraint, cell) -> np.ndarray | None:
    """(k, 3) unit vectors along which a constraint holds each of its atoms (`constraint.index`), Cartesian.

    None for a constraint that ties atoms to each other (bond lengths, the centre of mass). Scaled coordinates
    (FixScaled) are held along the reciprocal lattice vectors: an atom that keeps its c coordinate moves in the plane
    of a and b.
    """
    from ase.constraints import FixAtoms, FixCartesian, FixedLine, FixedPlane, FixScaled

    if isinstance(constraint, FixAtoms):
        return np.eye(3)
    if isinstance(constraint, FixCartesian):
        return np.eye(3)[constraint.mask]
    if isinstance(constraint, FixScaled):
        normals = cell.complete().reciprocal().array[constraint.mask]
        return normals / np.linalg.norm(normals, axis=1, keepdims=True)
    if isinstance(constraint, FixedPlane):
        return np.asarray(constraint.dir)[None]
    if isinstance(constraint, FixedLine):
        return np.linalg.svd(np.asarray(constraint.dir)[None])[2][1:]
    return None


def held_space(atoms) -> tuple[np.ndarray, np.ndarray]:
    """(n,) number of directions in which each atom is held, and (n, 3, 3) an orthonormal frame, those directions last.

    All constraints on single atoms count together: the same direction held twice is one.
    """
    sums = np.zeros((len(atoms), 3, 3))
    for constraint in atoms.constraints:
        directions = held_directions(constraint, atoms.cell)
        if directions is not None:
            sums[constraint.index] += directions.T @ directions
    values, vectors = np.linalg.eigh(sums)
    return (values > 1e-8).sum(axis=1), vectors.swapaxes(1, 2)


def held_atoms(atoms) -> np.ndarray:
    """(n,) bool, the atoms that constraints hold in all three directions."""
    if not atoms.constraints:
        return np.zeros(len(atoms), dtype=bool)
    return held_space(atoms)[0] == 3
