"""Energy and forces are continuous where atoms come into each other's reach and leave it."""

from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list

from equitensor.verification.derivatives import hessian_block, moves
from equitensor.verification.extensivity import cluster
from equitensor.verification.finding import Deviation, NotApplicable, Refusal
from equitensor.verification.jumps import Point, energy_jump, force_jump
from equitensor.verification.subject import Subject, moved, strained

FARTHEST, PAIRS = 12.0, 4  # Angstrom between two atoms; pairs of elements
# Of the largest energy, force and derivative of a force along the path and in the structure.
ENERGY, FORCE, KINK, KINK_INSIDE = 1e-4, 4e-4, 2e-2, 0.1
STEP = 2e-4  # Angstrom, for derivatives of forces


class Path(NamedTuple):
    """Structures in one parameter t (Angstrom but for strains) from start to stop.

    tangent, their d(positions)/dt, None where the cell changes; leaves, whether an atom goes out of all others' reach.
    """

    name: str
    at: Callable[[float], Atoms]
    tangent: np.ndarray | None
    start: float
    stop: float
    leaves: bool


def cutoff(subject: Subject) -> Iterator[Deviation]:
    """Two atoms drawn apart, an atom pulled off a cluster, and all atoms moving through the structure."""
    paths = _paths(subject)
    if not paths:
        raise NotApplicable("a call takes too long")
    refused = []
    for path in paths:
        try:
            yield from _scan(subject, path)
        except Refusal as error:
            if not path.leaves:
                raise
            refused.append(str(error))
    if len(refused) == len(paths):
        raise Refusal(refused[0])


def _paths(subject: Subject) -> list[Path]:
    calls = subject.affordable(0.03)
    pairs = list(combinations_with_replacement(subject.symbols, 2))[: PAIRS if calls > 20 else 1]
    paths = [_dimer(subject, *pair) for pair in pairs]
    paths.append(_pulled(subject))
    if calls > 10:
        paths.append(_through(subject))
        if subject.base.pbc.any():
            paths.append(_expansion(subject))
    return paths


def _dimer(subject: Subject, one: str, other: str) -> Path:
    direction = np.array([[0, 0, 0], [0.48, 0.6, 0.64]])
    nearest = sum(covalent_radii[atomic_numbers[symbol]] for symbol in (one, other))
    seen = _distances(subject, one, other)
    start = float(min(seen)) if len(seen) else nearest
    return Path(f"{one}-{other}", lambda r: Atoms([one, other], r * direction), direction, start, FARTHEST, True)


def _distances(subject: Subject, one: str, other: str) -> np.ndarray:
    """Between atoms of two elements in the structure, the nearest few Angstrom."""
    i, j, d = neighbor_list("ijd", subject.base, 3.5)
    symbols = np.array(subject.base.get_chemical_symbols())
    return d[(symbols[i] == one) & (symbols[j] == other)]


def _pulled(subject: Subject) -> Path:
    """The outermost atom of a cluster, outwards."""
    atoms = cluster(subject, largest=8)
    arms = atoms.positions - atoms.positions.mean(axis=0)
    atom = int(np.linalg.norm(arms, axis=1).argmax())
    tangent = np.zeros_like(arms)
    tangent[atom] = arms[atom] / np.linalg.norm(arms[atom])
    name = f"{atoms.symbols[atom]} pulled off a cluster"
    return Path(name, lambda t: moved(atoms, t * tangent), tangent, 0.0, FARTHEST, True)


def _through(subject: Subject) -> Path:
    tangent = subject.random.standard_normal(subject.base.positions.shape)
    return Path("all atoms moving", lambda t: moved(subject.base, t * tangent), tangent, -0.1, 0.1, False)


def _expansion(subject: Subject) -> Path:
    """All distances grow, which takes neighbours over the cutoff in turn."""
    return Path("cell growing", lambda t: strained(subject.base, (1 + t) * np.eye(3)), None, -0.04, 0.04, False)


def _scan(subject: Subject, path: Path) -> Iterator[Deviation]:
    rounding = subject.rounding

    def at(t: float) -> Point:
        atoms = path.at(t)
        values = subject(atoms)
        derivative = None if path.tangent is None else -float((values.forces * path.tangent).sum())
        return Point(t, values.energy, derivative, values.forces)

    count = min(max(subject.affordable(0.03), 15), 120 if path.leaves else 40)
    points = [at(t) for t in np.linspace(path.start, path.stop, count)]
    forces = np.array([p.forces for p in points])
    energies = np.array([p.energy for p in points]) - points[-1].energy
    force_scale = max(abs(forces).max(), rounding.force_scale)
    steepest = max(
        abs(np.diff(forces, axis=0)).max() / (points[1].t - points[0].t),
        abs(hessian_block(moves(subject))).max(),
    )
    energy_bound = ENERGY * max(abs(energies).max(), force_scale) + 8 * rounding.energy
    force_bound = FORCE * force_scale + 8 * rounding.forces
    width, jumps = max(1e-7, 2e-6 if rounding.single else 0.0), []
    for name, search, bound, unit in (
        ("energy jump", energy_jump, energy_bound, "eV"),
        ("force jump", force_jump, force_bound, "eV/Angstrom"),
    ):
        jump = search(at, points, bound / 10, width)
        jumps.append(Deviation(name, jump.value, bound, unit, _where(path, jump.t)))
    yield from jumps
    if path.leaves:
        kink, t = _kink_at_the_end(subject, at, points)
        yield Deviation("force kink", kink, KINK * steepest + 800 * rounding.forces, "eV/Angstrom^2", _where(path, t))
        if all(jump.passed for jump in jumps):  # where forces jump so do their derivatives
            yield _kink_inside(subject, path, steepest, count)


def _kink_inside(subject: Subject, path: Path, steepest: float, count: int) -> Deviation:
    """The largest jump of d(forces)/dt on the way, as where a cutoff function begins that is 1 before."""

    def at(t: float) -> Point:
        before, after = (subject(path.at(t + side)).forces for side in (-STEP, STEP))
        return Point(t, 0.0, None, (after - before) / (2 * STEP))

    bound = KINK_INSIDE * steepest + 8 * subject.rounding.forces / STEP
    points = [at(t) for t in np.linspace(path.start, path.stop, max(count // 2, 15))]
    jump = force_jump(at, points, bound / 10, 4 * STEP)
    return Deviation("force kink", jump.value, bound, "eV/Angstrom^2", _where(path, jump.t))


def _where(path: Path, t: float) -> str:
    return f"{path.name} at {t:.3f}" + (" Angstrom" if path.tangent is not None else " strain")


def _kink_at_the_end(subject: Subject, at: Callable[[float], Point], points: list[Point]) -> tuple[float, float]:
    """|dF/dt| just before the t behind which nothing changes any more, and that t; 0 where forces go on."""
    last, step = points[-1], 0.01
    least = 3 * subject.rounding.forces + 1e-12

    def goes_on(point: Point) -> bool:
        return abs(point.forces - last.forces).max() > least

    inside = [p for p in points if goes_on(p)]
    if not inside or inside[-1] is points[-2]:
        return 0.0, last.t
    a = inside[-1]
    b = next(p for p in points if p.t > a.t)
    while b.t - a.t > 1e-5:
        middle = at((a.t + b.t) / 2)
        a, b = (middle, b) if goes_on(middle) else (a, middle)
    before = np.array([at(a.t - k * step).forces for k in (1, 2, 3)])
    derivative = np.tensordot([2.5, -4.0, 1.5], before, 1) / step  # of the parabola through the three, at a
    return float(abs(derivative).max()), a.t
