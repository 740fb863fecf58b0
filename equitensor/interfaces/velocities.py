"""Initial velocities and the temperature that goes with them."""

import numpy as np
from ase import units
from ase.constraints import FixAtoms


def mobile(atoms) -> np.ndarray:
    """(n,) mask of the atoms that no FixAtoms constraint holds."""
    free = np.ones(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
    return free


def draw(atoms, temperature: float, rng: np.random.Generator, ensemble: str = "nve") -> None:
    """Give the atoms Maxwell-Boltzmann momenta at exactly this temperature (K), at rest as a whole.

    Without fixed atoms the total momentum is zero, without periodicity the angular momentum too; 2 E_kin / (f
    k_B) equals the temperature, f the degrees of freedom of the ensemble.
    """
    free = mobile(atoms)
    momenta = rng.standard_normal((len(atoms), 3)) * np.sqrt(units.kB * temperature * atoms.get_masses())[:, None]
    atoms.set_momenta(momenta * free[:, None])
    if free.all():
        _stop_translation(atoms)
        if not atoms.pbc.any():
            _stop_rotation(atoms)
    kinetic, freedom = atoms.get_kinetic_energy(), degrees_of_freedom(atoms, ensemble)
    wanted = 0.5 * freedom * units.kB * temperature
    atoms.set_momenta(atoms.get_momenta() * (np.sqrt(wanted / kinetic) if kinetic > 0 and freedom else 0.0))


def degrees_of_freedom(atoms, ensemble: str) -> int:
    """How many degrees of freedom move: what the kinetic energy is divided by to give the temperature.

    nve keeps the total momentum and, without periodicity, the angular momentum; nvt keeps the centre of mass;
    npt, and fixed atoms in any ensemble, keep neither.
    """
    free = mobile(atoms)
    freedom = 3 * int(free.sum())
    if not free.all() or ensemble == "npt":
        return freedom
    freedom -= 3
    if ensemble == "nve" and not atoms.pbc.any():
        freedom -= np.linalg.matrix_rank(_inertia(atoms), tol=1e-6)
    return int(freedom)


def _stop_translation(atoms):
    masses = atoms.get_masses()
    velocity = atoms.get_momenta().sum(axis=0) / masses.sum()
    atoms.set_momenta(atoms.get_momenta() - masses[:, None] * velocity)


def _stop_rotation(atoms):
    omega = np.linalg.pinv(_inertia(atoms), rcond=1e-9, hermitian=True) @ atoms.get_angular_momentum()
    arms = atoms.positions - atoms.get_center_of_mass()
    atoms.set_momenta(atoms.get_momenta() - atoms.get_masses()[:, None] * np.cross(omega, arms))


def _inertia(atoms):
    """The tensor of inertia, sum m (r^2 1 - r r^T) about the centre of mass, atomic mass unit Angstrom^2."""
    arms, masses = atoms.positions - atoms.get_center_of_mass(), atoms.get_masses()
    outer = np.einsum("i,ia,ib->ab", masses, arms, arms)
    return np.trace(outer) * np.eye(3) - outer
