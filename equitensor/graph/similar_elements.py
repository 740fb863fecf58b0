"""What is known of elements before any data: how alike two are, and how strongly their atoms are bound."""

import math

import numpy as np
from ase.data import covalent_radii, ground_state_magnetic_moments

# Pauling's electronegativity of the elements 1 to 96; Allen's of noble gases, estimates where neither has one.
_NEGATIVITY = (
    2.20, 4.16, 0.98, 1.57, 2.04, 2.55, 3.04, 3.44, 3.98, 4.79, 0.93, 1.31, 1.61, 1.90, 2.19, 2.58, 3.16, 3.24,
    0.82, 1.00, 1.36, 1.54, 1.63, 1.66, 1.55, 1.83, 1.88, 1.91, 1.90, 1.65, 1.81, 2.01, 2.18, 2.55, 2.96, 3.00,
    0.82, 0.95, 1.22, 1.33, 1.60, 2.16, 1.90, 2.20, 2.28, 2.20, 1.93, 1.69, 1.78, 1.96, 2.05, 2.10, 2.66, 2.60,
    0.79, 0.89, 1.10, 1.12, 1.13, 1.14, 1.13, 1.17, 1.20, 1.20, 1.10, 1.22, 1.23, 1.24, 1.25, 1.10, 1.27,
    1.30, 1.50, 2.36, 1.90, 2.20, 2.20, 2.28, 2.54, 2.00, 1.62, 1.87, 2.02, 2.00, 2.20, 2.20,
    0.79, 0.90, 1.10, 1.30, 1.50, 1.38, 1.36, 1.28, 1.13, 1.28,
)  # fmt: skip
_HEAVY = 1.30  # of the elements beyond
# Cohesive energy of the elements 1 to 96, eV per atom (Kittel, Introduction to Solid State Physics, 8th edition, table
# 3.1; atoms of diatomic gases in their molecules); estimates where it has none.
_COHESIVE = (
    2.24, 0.00, 1.63, 3.32, 5.81, 7.37, 4.92, 2.60, 0.84, 0.02, 1.11, 1.51, 3.39, 4.63, 3.43, 2.85, 1.40, 0.08,
    0.93, 1.84, 3.90, 4.85, 5.31, 4.10, 2.92, 4.28, 4.39, 4.44, 3.49, 1.35, 2.81, 3.85, 2.96, 2.46, 1.22, 0.12,
    0.85, 1.72, 4.37, 6.25, 7.57, 6.82, 6.85, 6.74, 5.75, 3.89, 2.95, 1.16, 2.52, 3.14, 2.75, 2.19, 1.11, 0.16,
    0.80, 1.90, 4.47, 4.32, 3.70, 3.40, 3.00, 2.14, 1.86, 4.14, 4.05, 3.04, 3.14, 3.29, 2.42, 1.60, 4.43,
    6.44, 8.10, 8.90, 8.03, 8.17, 6.94, 5.84, 3.81, 0.67, 1.88, 2.03, 2.18, 1.50, 1.20, 0.20,
    0.80, 1.66, 4.25, 6.20, 5.90, 5.55, 4.73, 3.60, 2.73, 3.99,
)  # fmt: skip
_ACTINIDE = 3.00  # of the elements beyond
_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)
_SHELLS = ((2, 0, 0, 0), (2, 0, 0, 6), (2, 0, 0, 6), (2, 0, 10, 6), (2, 0, 10, 6), (2, 14, 10, 6), (2, 14, 10, 6))
_LENGTH = 0.7
_OWN = 0.1  # of the variance: what no other element has


def covariance(elements) -> np.ndarray:
    """(E, E), float64, ones on the diagonal: 0.1 on its own and 0.9 exp(-|x - y|^2 / 2 0.7^2) of what elements are.

    x: shares of the s, f, d and p shell of the period that are filled, ln(period) / 2, covalent radius over 0.5
    Angstrom and electronegativity over 0.7. Cu and Ni have 0.87, C and N 0.53, C and O 0.15, Na and Cl 0.
    """
    x = np.array([_described(int(z)) for z in elements])
    near = np.exp(-0.5 * np.square(x[:, None] - x[None]).sum(axis=2) / _LENGTH**2)
    return (1 - _OWN) * near + _OWN * np.eye(len(x))


def energies_of_atoms(elements) -> list[np.ndarray]:
    """Covariances (E, E) by which energies of an element in structures spread between elements.

    Of total energies that count from atoms without spin, as those of plane-wave codes do, most is the cohesive energy
    and what spin gains in the free atom, about as the square of its magnetic moment (Stoner); alike elements share the
    rest. How much of each, and whether any, is for the data to say.
    """
    cohesive = np.array([_COHESIVE[z - 1] if z <= len(_COHESIVE) else _ACTINIDE for z in map(int, elements)])
    spin = np.array([_moment(z) ** 2 for z in map(int, elements)])
    parts = [np.outer(of, of) for of in (cohesive, spin) if of.any()]
    return [*parts, covariance(elements)]


def _moment(z: int) -> float:
    """Of the free atom, Bohr magnetons; 0 where unknown."""
    moment = float(ground_state_magnetic_moments[z]) if z < len(ground_state_magnetic_moments) else 0.0
    return moment if math.isfinite(moment) else 0.0


def _described(z: int) -> list[float]:
    period = next(p for p, last in enumerate(_NOBLE) if z <= last)
    left, filled = z - _NOBLE[period - 1], []
    for size in _SHELLS[period - 1]:
        taken = min(left, size)
        filled.append(taken / size if size else 0.0)
        left -= taken
    negativity = _NEGATIVITY[z - 1] if z <= len(_NEGATIVITY) else _HEAVY
    return [*filled, math.log(period) / 2, float(covalent_radii[z]) / 0.5, negativity / 0.7]
