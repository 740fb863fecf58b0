"""Energies add up: far fragments, single atoms, and many atoms without a loss of digits."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from equitensor.verification.finding import Deviation, NotApplicable
from equitensor.verification.rounding import Rounding, noise
from equitensor.verification.subject import Subject, moved

APART = 50.0  # Angstrom, farther than any cutoff
LARGEST_CLUSTER, FEW, SIZES, MANY = 24, 50, (80, 200), 600  # atoms
ONCE, REPEATED = 0.1, 0.03  # of the time, for a call that is made once, and for one that is made nine times
RETRIED = 2  # calls, where one seems to take too long


def cluster(subject: Subject, largest: int = LARGEST_CLUSTER) -> Atoms:
    """The structure without periodicity, or an atom of it and the atoms around, images among them."""
    base = subject.base
    if not base.pbc.any() and len(base) <= largest:
        return Atoms(base.numbers, base.positions)
    radius, neighbors = 2.0, (np.array([], int), np.zeros((0, 3)))
    while len(neighbors[0]) < min(largest, 8) - 1 and radius < 12:
        radius *= 1.2
        i, j, vectors = neighbor_list("ijD", base, radius)
        neighbors = j[i == 0], vectors[i == 0]
    order = np.argsort(np.linalg.norm(neighbors[1], axis=1))[: largest - 1]
    numbers = np.concatenate([base.numbers[:1], base.numbers[neighbors[0][order]]])
    return Atoms(numbers, np.vstack([np.zeros(3), neighbors[1][order]]))


def far_fragments(subject: Subject) -> Iterator[Deviation]:
    """The energy of two fragments 50 Angstrom apart is the sum of theirs, and so with an atom that is alone."""
    first = cluster(subject)
    turned = Atoms(first.numbers[::-1], first.positions[::-1] @ Rotation.random(random_state=7).as_matrix())
    single = Atoms(first.numbers[:1], np.zeros((1, 3)))
    for second, where in ((turned, "two fragments"), (turned[:-1], "two fragments"), (single, "an atom far away")):
        second = second.copy()
        gap = APART + np.ptp(first.positions[:, 0]) + np.ptp(second.positions[:, 0])
        second.positions += [gap, 0, 0]
        parts = subject(first), subject(second)
        both = subject(first + second)
        energy = abs(both.energy - parts[0].energy - parts[1].energy)
        forces = abs(both.forces - np.concatenate([part.forces for part in parts])).max()
        bound = 1e-5 + 3 * subject.rounding.energy_bound * max(len(first) / len(subject.base), 1)
        yield Deviation("energy", energy, bound, "eV", where)
        yield Deviation("forces", forces, 1e-5 + 3 * subject.rounding.force_bound, "eV/Angstrom", where)


def isolated_atoms(subject: Subject) -> Iterator[Deviation]:
    """An atom without neighbours has the same energy anywhere, its E0 where that is known, and no force."""
    known = getattr(subject.calculator, "elements", None)
    for symbol in sorted({*subject.symbols, *subject.e0s, *(known or ())}, key=lambda s: atomic_numbers[s]):
        alone = subject(Atoms(symbol, [[0, 0, 0]]))
        bound = 1e-6 + (4e-7 * abs(alone.energy) if subject.rounding.single else 0.0)
        yield Deviation("force", abs(alone.forces).max(), 1e-6, "eV/Angstrom", symbol)
        elsewhere = subject(Atoms(symbol, [[11.0, -3.0, 5.0]]))
        yield Deviation("energy elsewhere", abs(elsewhere.energy - alone.energy), bound, "eV", symbol)
        if symbol in subject.e0s:
            difference = abs(alone.energy - subject.e0s[symbol])
            yield Deviation("energy minus E0", difference, bound, "eV", f"{symbol}, E0 {subject.e0s[symbol]:.6f} eV")


def many_atoms(subject: Subject) -> Iterator[Deviation]:
    """Hundreds of atoms: so many times the energy, and rounding that does not grow in proportion."""
    unit = subject.base if subject.base.pbc.all() else cluster(subject)
    rounding, lattices = subject.rounding, _growing(subject, unit)
    if not lattices or len(lattices[-1].atoms) < FEW:
        count, took = max(subject.took.items())
        raise NotApplicable(f"a call takes too long for a structure of many atoms: {took:.2g} s for {count}")
    atoms, copies, energy = lattices[-1]
    per_atom = abs(energy - copies * subject(unit).energy) / len(atoms)
    bound = (2e-5 if rounding.single else 1e-7) + 5 * rounding.energy / rounding.atoms
    yield Deviation("energy", per_atom, bound, "eV/atom", f"{len(atoms)} atoms")
    quick = [each.atoms for each in lattices if len(each.atoms) >= FEW and subject.fits(REPEATED, len(each.atoms))]
    if quick:
        yield _growth_of_rounding(subject, quick[-1])


def _growth_of_rounding(subject: Subject, atoms: Atoms) -> Deviation:
    """The noise of the energy of many atoms, which may grow as the square root of their number."""
    rounding, direction = subject.rounding, subject.random.standard_normal(atoms.positions.shape)
    energies = np.array([[subject(moved(atoms, t * direction)).energy] for t in Rounding.TIMES])
    growth = np.sqrt(len(atoms) / rounding.atoms)
    smallest = 2e-5 if rounding.single else 1e-7 * max(rounding.force_scale, 1.0)
    least = smallest * np.sqrt(len(atoms)) + 4 * np.finfo(float).eps * abs(energies).max()
    where = f"{len(atoms)} atoms beside {rounding.atoms}"
    return Deviation("rounding", noise(energies), least + 4 * growth * rounding.energy, "eV", where)


class Lattice(NamedTuple):
    """Copies of a structure, and their energy."""

    atoms: Atoms
    copies: int
    energy: float


def _growing(subject: Subject, unit: Atoms) -> list[Lattice]:
    """More and more copies, up to MANY atoms or to where a call for more would take too long: each call is timed."""
    lattices: list[Lattice] = []
    for wanted in sorted({max(size // len(unit), 2) for size in (2 * len(unit), *SIZES, MANY)}):
        atoms, copies = _copies(unit, wanted)
        if not _fits(subject, len(atoms), lattices):
            break
        lattices.append(Lattice(atoms, copies, subject.timed(atoms).energy))
    return lattices


def _fits(subject: Subject, count: int, smaller: list[Lattice]) -> bool:
    """Whether a call for so many atoms may be made. Twice a structure that was no trouble always may."""
    if not smaller:
        return subject.fits(ONCE, len(subject.base))
    for _ in range(RETRIED):
        if not subject.fits(ONCE, count):  # other work on the machine may have made the last call slow
            last = smaller[-1].atoms
            subject.timed(moved(last, np.full(last.positions.shape, 0.01 * subject.random.random())))
    return subject.fits(ONCE, count)


def _copies(unit: Atoms, wanted: int) -> tuple[Atoms, int]:
    """A supercell of about so many copies, or a lattice of clusters 50 Angstrom from each other."""
    side = max(round(wanted ** (1 / 3)), 1)
    repeat = [side, side, max(wanted // side**2, 1)]
    atoms = unit.copy()
    if not unit.pbc.all():
        atoms.cell = np.diag(np.ptp(unit.positions, axis=0) + APART)
    atoms = atoms.repeat(repeat)
    if not unit.pbc.all():
        atoms.cell, atoms.pbc = np.zeros((3, 3)), False
    return atoms, int(np.prod(repeat))
