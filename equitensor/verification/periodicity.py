"""A crystal has many descriptions, all with one energy per atom: images, cells, supercells."""

from collections.abc import Iterator

import numpy as np

from equitensor.verification.finding import Deviation
from equitensor.verification.subject import Subject, moved

LARGEST_SUPERCELL = 300  # atoms


def lattice_translation(subject: Subject) -> Iterator[Deviation]:
    """One atom, then all, moved by lattice vectors."""
    periodic, count = subject.periodic(), len(subject.base)
    one, all_ = np.zeros((count, 3)), np.zeros((count, 3))
    one[subject.random.integers(count), periodic] = [1, -2, 1][: len(periodic)]
    all_[:, periodic] = subject.random.integers(-3, 4, (count, len(periodic)))
    for shift, where in ((one, "one atom moved"), (all_, "all atoms moved")):
        translated = subject(moved(subject.base, shift @ subject.base.cell.array), stress=True)
        yield from subject.differences(subject.values, translated, f"{where} by lattice vectors")


def equivalent_cells(subject: Subject) -> Iterator[Deviation]:
    """Other vectors of the same lattice: sheared ones, and a left-handed set."""
    for matrix in _unimodular(subject.periodic()):
        atoms = subject.base.copy()
        atoms.set_cell(matrix @ atoms.cell.array, scale_atoms=False)
        for other in (atoms, _wrapped(atoms)):
            where = f"cell vectors {matrix.astype(int).tolist()} times those given"
            yield from subject.differences(subject.values, subject(other, stress=True), where)


def _wrapped(atoms):
    atoms = atoms.copy()
    atoms.wrap()
    return atoms


def _unimodular(periodic: np.ndarray) -> list[np.ndarray]:
    """Integer matrices of determinant 1 and -1 that leave other directions alone."""
    flipped = np.eye(3)
    flipped[periodic[0], periodic[0]] = -1
    if len(periodic) == 1:
        return [flipped]
    a, b, *rest = periodic
    sheared, skewed = np.eye(3), np.eye(3)
    sheared[a, b] = 1
    skewed[b, a] = -2
    if rest:
        skewed[rest[0], a], skewed[a, rest[0]] = 1, 1
        skewed[rest[0], rest[0]] = 2
    return [flipped, sheared, skewed]


def supercells(subject: Subject) -> Iterator[Deviation]:
    """Twice, three times the cell: so many times the energy, and the same forces and stress."""
    periodic, count = subject.periodic(), len(subject.base)
    trials = [(axis, factor) for factor in (2, 3) for axis in periodic]
    repeats = [np.where(np.arange(3) == axis, factor, 1) for axis, factor in trials]
    repeats.append(np.where(subject.base.pbc, 2, 1))
    for number, repeat in enumerate(repeats):
        copies = int(np.prod(repeat))
        few = copies * count <= LARGEST_SUPERCELL and subject.fits(0.03, copies * count)
        if number == 0 or few:
            repeated = subject.timed(subject.base.repeat(repeat), stress=True)
            where = "supercell {} x {} x {}".format(*repeat)
            yield from subject.differences(subject.values, repeated, where, copies)
