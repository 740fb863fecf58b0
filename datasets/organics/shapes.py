"""What geometries are compared by: their bonds, and the RMSD after superposition. Angstrom."""

import warnings

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.spatial.transform import Rotation

BOUND, BROKEN = 1.2, 1.5  # of the sum of covalent radii: nearer than the one is a bond, which ends beyond the other


def bonds(atoms: Atoms) -> np.ndarray:
    """(m, 2) pairs i < j of atoms nearer than BOUND times the sum of their covalent radii."""
    pairs = np.column_stack(np.triu_indices(len(atoms), 1))
    return pairs[lengths(pairs, atoms.positions) < BOUND * _radii(atoms.numbers, pairs)]


def broken(pairs: np.ndarray, numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """(m,) which of these bonds are longer than BROKEN times the sum of the covalent radii."""
    return lengths(pairs, positions) > BROKEN * _radii(numbers, pairs)


def lengths(pairs: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """(m,) of these pairs."""
    return np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)


def rmsd(one: np.ndarray, other: np.ndarray) -> float:
    """Of the same atoms in the same order, after the rotation and translation that make it least; no reflection."""
    one, other = one - one.mean(0), other - other.mean(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal rotation is not uniquely")  # of linear molecules
        rotation, _ = Rotation.align_vectors(one, other)  # its own distance is a difference of large sums
    return float(np.sqrt(np.square(rotation.apply(other) - one).sum(1).mean()))


def _radii(numbers: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return covalent_radii[numbers[pairs]].sum(1)
