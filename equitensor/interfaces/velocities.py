"""Initial velocities at a temperature, within constraints."""

import numpy as np
from ase import units

from equitensor.interfaces.constraints import (
    degrees_of_freedom,
    exact_constraints,
    inertia,
    moves_as_a_whole,
    turns_as_a_whole,
)

__all__ = ["degrees_of_freedom", "draw"]


def draw(atoms, temperature: float, rng: np.random.Generator, ensemble: str = "nve") -> None:
    """Give the atoms Maxwell-Boltzmann momenta at exactly this temperature (K), at rest as a whole.

    Constraints are kept. Where they let the structure move as a whole the total momentum is zero, without periodicity
    the angular momentum too; 2 E_kin / (f k_B) equals the temperature, f the degrees of freedom of the ensemble.
    """
    momenta = rng.standard_normal((len(atoms), 3)) * np.sqrt(units.kB * temperature * atoms.get_masses())[:, None]
    with exact_constraints(atoms):
        atoms.set_momenta(momenta)
        if moves_as_a_whole(atoms):
            _stop_translation(atoms)
        if turns_as_a_whole(atoms):
            _stop_rotation(atoms)
        kinetic, freedom = atoms.get_kinetic_energy(), degrees_of_freedom(atoms, ensemble)
        wanted = 0.5 * freedom * units.kB * temperature
        atoms.set_momenta(atoms.get_momenta() * (np.sqrt(wanted / kinetic) if kinetic > 0 and freedom > 0 else 0.0))


def _stop_translation(atoms):
    masses = atoms.get_masses()
    velocity = atoms.get_momenta().sum(axis=0) / masses.sum()
    atoms.set_momenta(atoms.get_momenta() - masses[:, None] * velocity)


def _stop_rotation(atoms):
    omega = np.linalg.pinv(inertia(atoms), rcond=1e-9, hermitian=True) @ atoms.get_angular_momentum()
    arms = atoms.positions - atoms.get_center_of_mass()
    atoms.set_momenta(atoms.get_momenta() - atoms.get_masses()[:, None] * np.cross(omega, arms))
