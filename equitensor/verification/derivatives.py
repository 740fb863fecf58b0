"""Forces and stress are derivatives of the energy, and second derivatives are symmetric."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ase import Atoms

from equitensor.verification.finding import Deviation, NotApplicable
from equitensor.verification.subject import AXES, Subject, moved, strained

DIRECTIONS = 3  # in which all atoms move at once
SMALLER = 2  # steps to try
HOT = 0.12  # Angstrom


class Moves(NamedTuple):
    """The structure at -step and +step along coordinates of some atoms, and along directions of all.

    coordinates (m,) indices into 3n; columns (m, 3n), d(forces)/d(coordinate); mean_forces and differences (m,), from
    forces and from energies; directions: a list of (mean force, difference) per unit of displacement.
    """

    coordinates: np.ndarray
    columns: np.ndarray
    mean_forces: np.ndarray
    differences: np.ndarray
    directions: list


def moves(subject: Subject, step: float | None = None) -> Moves:
    """Computed once for a subject and step (Angstrom): forces and Hessian need the same structures."""
    step = subject.rounding.step if step is None else step
    if step not in subject.kept:
        subject.kept[step] = _moves(subject, step)
    return subject.kept[step]


def _moves(subject: Subject, step: float) -> Moves:
    size, random = subject.base.positions.shape, np.random.default_rng(1)
    coordinates = _coordinates(subject)
    moves = []
    for c in coordinates:
        direction = np.zeros(size)
        direction.flat[c] = 1.0
        moves.append(_finite_difference(subject, direction, step))
    directions = [_finite_difference(subject, random.uniform(-1, 1, size), step)[:2] for _ in range(DIRECTIONS)]
    mean, difference, columns = map(np.array, zip(*moves, strict=True))
    return Moves(coordinates, columns, mean, difference, directions)


def _with_steps_that_fit(subject: Subject, check: Callable[[float], list[Deviation]]) -> list[Deviation]:
    """The check with the usual step, with smaller ones where it fails: an error of the formula goes away with these.

    An error of the derivatives does not. Steps end where rounding would hide 1 % of a force.
    """
    step, rounding = subject.rounding.step, subject.rounding
    finding = check(step)
    for _ in range(SMALLER):
        step /= 3
        if (
            all(q.passed for q in finding)
            or 3 * rounding.energy / step + 4 * rounding.forces > 0.01 * rounding.force_scale
        ):
            break
        finding = check(step)
    return finding


def _finite_difference(
    subject: Subject, direction: np.ndarray, step: float, atoms: Atoms | None = None, forces: np.ndarray | None = None
) -> tuple[float, float, np.ndarray]:
    """Mean force along a direction by Simpson's rule, -dE over the distance, and the change of the forces.

    E(h) - E(-h) = -h/3 (F(-h) + 4 F(0) + F(h)) d + O(h^5): fourth order with two structures.
    """
    length = np.linalg.norm(direction)
    if atoms is None or forces is None:
        atoms, forces = subject.base, subject.values.forces
    before, after = (subject(moved(atoms, t * direction)) for t in (-step, step))
    forces = (before.forces + 4 * forces + after.forces) / 6
    difference = -(after.energy - before.energy) / (2 * step * length)
    column = (after.forces - before.forces).ravel() / (2 * step)
    return float((forces * direction).sum() / length), float(difference), column


def _coordinates(subject: Subject) -> np.ndarray:
    """All 3n, or those of as many atoms around one as there is time for."""
    atoms = max(subject.affordable(0.25) // 6, 1)
    if atoms >= len(subject.base):
        return np.arange(3 * len(subject.base))
    centre = int(subject.random.integers(len(subject.base)))
    distances = subject.base.get_distances(centre, range(len(subject.base)), mic=bool(subject.base.pbc.any()))
    return (3 * np.sort(np.argsort(distances)[:atoms])[:, None] + np.arange(3)).ravel()


def forces(subject: Subject) -> list[Deviation]:
    """Forces against finite differences of the energy."""
    return _with_steps_that_fit(subject, lambda step: _forces(subject, step))


def _forces(subject: Subject, step: float) -> list[Deviation]:
    displaced, rounding = moves(subject, step), subject.rounding
    relative = 2e-3 if rounding.single else 3e-4
    noise = 3 * rounding.energy / step + 4 * rounding.forces
    pairs = [
        (f"{subject.name(c // 3)}, {AXES[c % 3]}", mean, difference)
        for c, mean, difference in zip(displaced.coordinates, displaced.mean_forces, displaced.differences, strict=True)
    ]
    pairs += [("a motion of all atoms", *pair) for pair in displaced.directions]
    quantities = []
    for where, mean, difference in pairs:
        bound = relative * max(rounding.force_scale, abs(mean)) + noise
        quantities.append(Deviation("forces", abs(mean - difference), bound, "eV/Angstrom", where))
    return quantities + _hot_forces(subject, step, relative, noise)


def _hot_forces(subject: Subject, step: float, relative: float, noise: float) -> list[Deviation]:
    """Forces where atoms are farther from their places, and forces larger, along motions of all atoms."""
    random, quantities = np.random.default_rng(2), []
    for _ in range(DIRECTIONS):
        hot = moved(subject.base, HOT * random.standard_normal(subject.base.positions.shape))
        direction = random.uniform(-1, 1, hot.positions.shape)
        values = subject(hot)
        mean, difference, _ = _finite_difference(subject, direction, step, hot, values.forces)
        bound = relative * max(np.sqrt(np.mean(values.forces**2)), abs(mean)) + noise
        where = f"a motion of all atoms, displaced by {HOT} Angstrom"
        quantities.append(Deviation("forces", abs(mean - difference), bound, "eV/Angstrom", where))
    return quantities


def hessian(subject: Subject) -> list[Deviation]:
    """d(force i)/d(coordinate j) = d(force j)/d(coordinate i), by finite differences of forces."""
    return _with_steps_that_fit(subject, lambda step: _hessian(subject, step))


def _hessian(subject: Subject, step: float) -> list[Deviation]:
    displaced, rounding = moves(subject, step), subject.rounding
    block = hessian_block(displaced)
    difference = abs(block - block.T)
    bound = (1e-5 + 20 * step**2) * abs(block).max() + 4 * rounding.forces / step
    i, j = np.unravel_index(difference.argmax(), difference.shape)
    names = [f"{subject.name(c // 3)} {AXES[c % 3]}" for c in displaced.coordinates[[i, j]]]
    return [Deviation("Hessian", difference.max(), bound, "eV/Angstrom^2", " and ".join(names))]


def hessian_block(displaced: Moves) -> np.ndarray:
    """Second derivatives of the energy in the coordinates that were moved."""
    return -displaced.columns[:, displaced.coordinates]


def stress(subject: Subject) -> list[Deviation]:
    """Stress against finite differences of the energy under strain."""
    subject.periodic()
    if subject.no_stress is not None:
        raise NotApplicable(subject.no_stress)
    return _with_steps_that_fit(subject, lambda step: _stress(subject, step / 3))


def _stress(subject: Subject, step: float) -> list[Deviation]:
    rounding = subject.rounding
    relative = 4e-3 if rounding.single else 5e-4
    noise = 3 * rounding.energy / (step * subject.base.get_volume()) + 4 * rounding.stress
    quantities = []
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        direction = np.zeros((3, 3))
        direction[a, b] += 0.5
        direction[b, a] += 0.5
        mean, difference = _under(subject, direction, step)
        bound = relative * rounding.stress_scale + noise
        quantities.append(Deviation("stress", abs(mean - difference), bound, "eV/Angstrom^3", AXES[a] + AXES[b]))
    return quantities


def _under(subject: Subject, direction: np.ndarray, step: float) -> tuple[float, float]:
    """Mean of dE/dt under the strain 1 + t direction, from stresses and from energies, over the volume."""
    derivatives, energies, volume = [], [], subject.base.get_volume()
    for t in (-step, 0.0, step):
        deformation = np.eye(3) + t * direction
        atoms = strained(subject.base, deformation)
        values = subject(atoms, stress=True) if t else subject.values
        derivatives.append(atoms.get_volume() * (values.stress * (direction @ np.linalg.inv(deformation))).sum())
        energies.append(values.energy)
    mean = (derivatives[0] + 4 * derivatives[1] + derivatives[2]) / 6
    return mean / volume, (energies[2] - energies[0]) / (2 * step * volume)
