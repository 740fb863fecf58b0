"""Harmonic vibrations of a structure: frequencies, motions, zero-point energy."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator

from equitensor.errors import InputError
from equitensor.graph.constraints import held_directions, held_space
from equitensor.interfaces.constraints import names
from equitensor.interfaces.hessian import hessian

_WHOLE = 0.9  # share of a motion that is one of the structure as a whole


@dataclass(frozen=True)
class Vibrations:
    """Normal modes of m free coordinates, in the order of their eigenvalues, omega^2.

    | field         | shape     | meaning                                                                             |
    | ------------- | --------- | ----------------------------------------------------------------------------------- |
    | energies      | (m,)      | hbar omega in eV; of imaginary frequencies -hbar |omega|                            |
    | displacements | (m, n, 3) | eigenvector of the mass-weighted Hessian over the square root of the mass of atoms  |
    | whole         | (m,) bool | the structure moves as a whole (translation, of a molecule rotation), no vibration  |
    """

    energies: np.ndarray
    displacements: np.ndarray
    whole: np.ndarray

    @property
    def wavenumbers(self) -> np.ndarray:
        """(m,) 1/cm, negative where imaginary."""
        return self.energies / units.invcm

    @property
    def imaginary(self) -> np.ndarray:
        """(m,) bool."""
        return self.energies < 0

    @property
    def zero_point_energy(self) -> float:
        """Half the sum of hbar omega in eV, without imaginary ones and motions of the whole."""
        return float(self.energies[~self.imaginary & ~self.whole].sum() / 2)


def vibrations(calc: BaseCalculator, atoms: Atoms) -> Vibrations:
    """Normal modes from hessian(calc, atoms) and the masses; for a periodic structure those at the Gamma point.

    Coordinates that constraints hold (FixAtoms, FixCartesian, FixedPlane, FixedLine, FixScaled) do not move. Raises
    InputError for other constraints, and if no coordinate is free.
    """
    free, masses = _free(atoms), np.repeat(atoms.get_masses(), 3)
    if not (masses > 0).all():
        raise InputError(f"atom {int(np.argmin(masses)) // 3} has no mass: give it one")
    weighted = hessian(calc, atoms) / np.sqrt(np.outer(masses, masses))
    squares, modes = np.linalg.eigh(free @ weighted @ free.T)
    vectors = modes.T @ free
    to_energy = units._hbar * 1e10 / np.sqrt(units._e * units._amu)  # sqrt(eV / (amu Angstrom^2)) in eV
    return Vibrations(
        energies=to_energy * np.sign(squares) * np.sqrt(abs(squares)),
        displacements=(vectors / np.sqrt(masses)).reshape(len(vectors), len(atoms), 3),
        whole=np.square(vectors @ _as_a_whole(atoms, free).T).sum(axis=1) > _WHOLE,
    )


def largest_free_force(calc, atoms) -> float:
    """The largest force, eV/Angstrom, along what constraints leave free."""
    bare = atoms.copy()
    bare.set_constraint()
    bare.calc = calc
    forces = _free(atoms) @ bare.get_forces().ravel()
    owner = np.repeat(np.arange(len(atoms)), 3 - held_space(atoms)[0])
    return float(np.sqrt(np.bincount(owner, np.square(forces)).max()))


def _free(atoms) -> np.ndarray:
    """(m, 3n) orthonormal directions that constraints leave to single atoms."""
    others = [c for c in atoms.constraints if held_directions(c, atoms.cell) is None]
    if others:
        raise InputError(
            f"vibrations cannot hold {names(others)}: hold atoms with FixAtoms, FixCartesian, FixScaled, FixedPlane or "
            "FixedLine, or free them"
        )
    held, frame = held_space(atoms)
    atom, row = np.nonzero(np.arange(3) < 3 - held[:, None])
    if len(atom) == 0:
        raise InputError("constraints hold all atoms: free some, nothing is left that could vibrate")
    free = np.zeros((len(atom), len(atoms), 3))
    free[np.arange(len(atom)), atom] = frame[atom, row]
    return free.reshape(len(atom), -1)


def _as_a_whole(atoms, free) -> np.ndarray:
    """(k, 3n) orthonormal mass-weighted translations, without periodicity rotations too, that `free` allows."""
    size, arms = (len(atoms), 3), atoms.positions - atoms.get_center_of_mass()
    motions = [np.broadcast_to(axis, size) for axis in np.eye(3)]
    if not atoms.pbc.any():
        motions += [np.cross(axis, arms) for axis in np.eye(3)]
    weighted = np.array(motions) * np.sqrt(atoms.get_masses())[:, None]
    _, values, rows = np.linalg.svd(weighted.reshape(len(motions), -1), full_matrices=False)
    rows = rows[values > 1e-6 * values[0]]
    # Combinations of which constraints take nothing away: eigenvalue 1 of the projection.
    inside, turned = np.linalg.eigh((rows @ free.T) @ (free @ rows.T))
    return turned[:, inside > 1 - 1e-9].T @ rows
