"""Energies do not depend on the frame of reference or on the numbers of atoms; forces and stress turn with it."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from equitensor.verification.finding import Deviation
from equitensor.verification.subject import Subject, Values, moved, strained


def rotation(subject: Subject) -> Iterator[Deviation]:
    """Three random rotations; the forces on a molecule have no torque."""
    for seed in range(3):
        yield from _turned(subject, Rotation.random(random_state=seed).as_matrix(), f"random rotation {seed + 1}")
    if not subject.base.pbc.any():
        arms = subject.base.positions - subject.base.positions.mean(axis=0)
        torque = abs(np.cross(arms, subject.values.forces).sum(axis=0)).max()
        bound = subject.rounding.force_bound * abs(arms).sum()
        yield Deviation("torque", torque, bound, "eV")


def inversion(subject: Subject) -> Iterator[Deviation]:
    """The mirror image, as it is and turned."""
    yield from _turned(subject, -np.eye(3), "mirror image")
    yield from _turned(subject, -Rotation.random(random_state=3).as_matrix(), "mirror image, turned")


def _turned(subject: Subject, matrix: np.ndarray, where: str) -> list[Deviation]:
    before = subject.values
    stress = None if before.stress is None else matrix @ before.stress @ matrix.T
    expected = Values(before.energy, before.forces @ matrix.T, stress)
    turned = strained(subject.base, matrix.T)
    if np.linalg.det(matrix) < 0:  # the same lattice with vectors of the same hand
        turned.set_cell(-turned.cell.array, scale_atoms=False)
    return subject.differences(expected, subject(turned, stress=True), where)


def translation(subject: Subject) -> Iterator[Deviation]:
    """All atoms moved by one vector; forces sum to zero."""
    for vector in ((1.7, -2.3, 3.1), (-7.3, 9.1, 12.7)):
        translated = subject(moved(subject.base, np.array(vector)), stress=True)
        yield from subject.differences(subject.values, translated, f"moved by {vector} Angstrom")
    net = abs(subject.values.forces.sum(axis=0)).max()
    yield Deviation("sum of forces", net, subject.rounding.force_bound * len(subject.base), "eV/Angstrom")


def permutation(subject: Subject) -> Iterator[Deviation]:
    """Atoms in another order."""
    count = len(subject.base)
    orders = {"reversed": np.arange(count)[::-1], "one further": np.roll(np.arange(count), -1)}
    for where, order in {**orders, "random": subject.random.permutation(count)}.items():
        expected = subject.values._replace(forces=subject.values.forces[order])
        yield from subject.differences(expected, subject(subject.base[order], stress=True), f"order {where}")
