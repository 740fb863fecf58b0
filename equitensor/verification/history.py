"""What was computed before does not matter: not by chance, not by what is kept, not after an error."""

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from equitensor.verification.finding import Deviation, Refusal
from equitensor.verification.subject import Subject, Values, energy_of, moved, refusal

REPEATS, LITTLE = 15, 1e-3  # Angstrom


def determinism(subject: Subject) -> Iterator[Deviation]:
    """The same structure, another one in between: the same values, but for the order of sums."""
    displaced = moved(subject.base, 0.01 * subject.random.standard_normal(subject.base.positions.shape))
    energy_bound = 1e-5 + 1e-6 * len(subject.base)
    force_bound = 1e-5 * abs(subject.values.forces).max()
    for number in range(REPEATS):
        subject(displaced)
        again = subject(subject.base)
        where = f"computed again ({number + 1})"
        yield Deviation("energy", abs(again.energy - subject.values.energy), energy_bound, "eV", where)
        yield Deviation("forces", abs(again.forces - subject.values.forces).max(), force_bound, "eV/Angstrom", where)


def stale_results(subject: Subject) -> Iterator[Deviation]:
    """Each kind of change of one Atoms object is seen: results are those of the same structure computed afresh."""
    yield from _little_step(subject)
    for name, change in _changes(subject).items():
        atoms = subject.base.copy()
        atoms.calc = subject.calculator
        _values(subject, atoms)
        for _ in change(atoms):
            values = _values(subject, atoms)
        yield from subject.differences(_afresh(subject, atoms), values, f"after {name}")


def _little_step(subject: Subject) -> Iterator[Deviation]:
    """The atom with the largest force moves along it by 1e-3 Angstrom: the energy falls by about their product."""
    values = subject(subject.base)  # what a memory of rounded positions may hold is that of the base
    atom = int(np.linalg.norm(values.forces, axis=1).argmax())
    force = float(np.linalg.norm(values.forces[atom]))
    step = np.zeros_like(values.forces)
    step[atom] = LITTLE * values.forces[atom] / force
    after = subject(moved(subject.base, step))
    missing = abs(after.energy - values.energy + LITTLE * force)
    bound = 0.5 * LITTLE * force + 8 * subject.rounding.energy
    where = f"after {subject.name(atom)} moved by {LITTLE} Angstrom"
    yield Deviation("energy", missing, bound, "eV", where)
    old = after.energy == values.energy and np.array_equal(after.forces, values.forces)
    yield Deviation("old results", float(old), 0.0, "times", where)


def _changes(subject: Subject) -> dict:
    """Name -> a generator that changes the atoms once or more, and yields when the calculator shall be asked."""

    def one_little(atoms):
        atoms.positions[0, 1] += 1e-3
        yield

    def one(atoms):
        atoms.positions[-1] += [0.1, -0.05, 0.08]
        yield

    def cell(atoms):
        atoms.set_cell(atoms.cell.array @ np.array([[1.02, 0.01, 0], [0, 0.99, 0], [0, 0.01, 1.02]]))
        yield

    def size(atoms):
        for factor in [1.01] * 6 + [0.985] * 7:
            atoms.set_cell(factor * atoms.cell.array)
            atoms.positions *= factor
            yield

    def elements(atoms):
        other = np.flatnonzero(atoms.numbers != atoms.numbers[0])[0]
        atoms.numbers[[0, other]] = atoms.numbers[[other, 0]]
        yield

    def number(atoms):
        del atoms[-1]
        yield

    changes = {"a small move of one atom": one_little, "a move of one atom": one, "growing and shrinking": size}
    if subject.base.pbc.any():
        changes["a change of the cell alone"] = cell
    if len(set(subject.base.numbers)) > 1:
        changes["two elements changing places"] = elements
    if len(subject.base) > 2:
        changes["taking an atom away"] = number
    return changes


def _values(subject: Subject, atoms: Atoms) -> Values:
    """Energy, then forces, then stress of these atoms, each asked for by itself."""
    subject.calls += 1
    try:
        energy, forces = energy_of(atoms), np.array(atoms.get_forces(), dtype=float)
        stress = np.array(atoms.get_stress(voigt=False)) if subject.no_stress is None else None
    except Exception as error:
        raise refusal(error) from None
    return Values(energy, forces, stress)


def _afresh(subject: Subject, atoms: Atoms) -> Values:
    """The results with nothing left of what was computed before, as far as ASE's interface goes."""
    other = subject.base.copy()
    other.append(other[0])  # another number of atoms: no list or array of before can serve
    other.positions[-1] += [0.5, 0.6, 0.7]
    for structure in (other, atoms):
        if hasattr(subject.calculator, "reset"):
            subject.calculator.reset()
        try:
            values = subject(structure, stress=True)
        except Refusal:
            if structure is atoms:
                raise
    return values


def after_an_error(subject: Subject) -> Iterator[Deviation]:
    """A structure that cannot be computed gets no results of another one, and leaves the next one's right."""
    displaced = moved(subject.base, 0.01 * subject.random.standard_normal(subject.base.positions.shape))
    expected = subject(displaced, stress=True)
    for name, impossible in _impossible(subject).items():
        before = subject(subject.base)
        old = _old_results(subject, impossible, before)
        yield Deviation("old results", old, 0.0, "times", f"asked about {name}")
        values = subject(displaced, stress=True)
        yield from subject.differences(expected, values, f"after it was asked about {name}")


def _impossible(subject: Subject) -> dict[str, Atoms]:
    """Structures that most calculators refuse."""
    shifted = moved(subject.base, 0.02 * subject.random.standard_normal(subject.base.positions.shape))
    element, together, nowhere = shifted.copy(), shifted.copy(), shifted.copy()
    element.numbers[0] = 118
    together.positions[0] = together.positions[1]
    nowhere.positions[0, 0] = np.nan
    return {"element 118": element, "two atoms in one place": together, "a position that is not a number": nowhere}


def _old_results(subject: Subject, atoms: Atoms, before: Values) -> int:
    """How often energy or forces are those of the call before, when both are asked for twice."""
    atoms = atoms.copy()
    atoms.calc = subject.calculator
    old = 0
    for _ in range(2):
        for ask, old_value in ((energy_of, before.energy), (Atoms.get_forces, before.forces)):
            subject.calls += 1
            try:
                with np.errstate(all="ignore"):
                    old += np.array_equal(ask(atoms), old_value)
            except Exception:  # a refusal, which is right
                continue
    return old
