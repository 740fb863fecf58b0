"""Whether another calculator gives the same values: another backend, precision or program."""

from collections.abc import Iterator

import numpy as np

from equitensor.verification.finding import Deviation
from equitensor.verification.subject import Subject, Values

# Relative to the root mean square of forces and to the largest stress; eV an atom.
FORCES, STRESS, ENERGY = {True: 2e-4, False: 1e-8}, {True: 1e-3, False: 1e-7}, {True: 2e-5, False: 1e-8}


def agreement(subject: Subject, calculator) -> Iterator[Deviation]:
    """Energy, forces and stress of the other calculator on the same structure.

    Bounds are those of the coarser of both: single precision where one of them rounds so.
    """
    other = Subject(calculator, subject.base, subject.seconds)
    actual = other(subject.base, stress=subject.no_stress is None)
    yield from differences(subject.values, actual, subject.rounding.single or other.rounding.single)


def differences(expected: Values, actual: Values, single: bool) -> Iterator[Deviation]:
    """How far two results for one structure are apart; in single precision or not."""
    scale = max(float(np.sqrt(np.mean(expected.forces**2))), 1e-300)
    energy = abs(actual.energy - expected.energy)
    bound = ENERGY[single] * len(expected.forces) * max(scale, 1.0) + 1e-13 * abs(expected.energy)
    yield Deviation("energy", energy, bound, "eV")
    yield Deviation("forces", abs(actual.forces - expected.forces).max(), FORCES[single] * scale, "eV/Angstrom")
    if expected.stress is not None and actual.stress is not None:
        bound = STRESS[single] * abs(expected.stress).max()
        yield Deviation("stress", abs(actual.stress - expected.stress).max(), bound, "eV/Angstrom^3")
