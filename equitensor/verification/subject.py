"""The calculator under test beside a structure: what it computes, how finely it rounds, what time a call takes."""

from functools import cached_property
from time import perf_counter
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from equitensor.errors import InputError
from equitensor.verification.finding import Deviation, NotApplicable, Refusal
from equitensor.verification.rounding import Rounding, of_smooth_motions, stuck

DISPLACEMENT, STRAIN = 0.03, 0.01  # Angstrom and relative: forces and stress should be of the usual size, not zero
AXES = "xyz"


class Values(NamedTuple):
    """energy in eV, forces (n, 3) in eV/Angstrom, stress (3, 3) in eV/Angstrom^3, tension positive, or None."""

    energy: float
    forces: np.ndarray
    stress: np.ndarray | None


class Subject:
    """A calculator and a structure to judge it on, through ASE's interface.

    The structure is the given one with atoms displaced at random by 0.03 Angstrom, its cell strained by 1 %, so that no
    symmetry hides an error.

    Attributes: base, that structure; values, its results; rounding, noise and scales of these; no_stress, why there is
    none, or None; seconds, that all checks together may take; calls, made so far; took, seconds of a call by
    number of atoms; random, numpy's generator;
    kept, what checks share.
    Raises InputError where the calculator cannot compute the structure, or all its forces are zero.
    """

    def __init__(self, calculator, atoms: Atoms, seconds: float = 50.0, e0s: dict | None = None, seed: int = 0):
        self.calculator, self.seconds, self.e0s = calculator, seconds, dict(e0s or {})
        self.random, self.calls, self.kept = np.random.default_rng(seed), 0, {}
        self.base = displaced(atoms, self.random)
        self.no_stress: str | None = None if self.base.pbc.any() else "the structure is not periodic"
        try:
            self.values = self(self.base)
            self._look_for_stress()
            self.values = self(self.base, stress=True)
            self.rounding, self.seconds_a_call = self._measure()
            self.took = {len(self.base): max(self.seconds_a_call, 1e-9)}
        except Refusal as error:
            raise InputError(f"the calculator cannot compute the structure: {error}") from None
        if not (np.isfinite(self.values.energy) and np.isfinite(self.values.forces).all()):
            raise InputError(
                "the calculator's energy or forces of the structure are not finite: there is nothing to test"
            )
        if not self.values.forces.any():
            raise InputError("all forces are zero: no atom is within the cutoff of another; give a denser structure")

    def __call__(self, atoms: Atoms, stress: bool = False) -> Values:
        """What the calculator says of the atoms, stress where there is one. Raises Refusal for what it raises."""
        self.calls += 1
        return compute(self.calculator, atoms, stress and self.no_stress is None)

    def _look_for_stress(self) -> None:
        if self.no_stress is not None:
            return
        atoms = self.base.copy()
        atoms.calc = self.calculator
        try:
            atoms.get_stress()
        except (PropertyNotImplementedError, NotImplementedError) as error:
            self.no_stress = f"stress is not implemented{': ' * bool(str(error))}{error}"
        except Exception as error:
            raise refusal(error) from None

    def _measure(self) -> tuple[Rounding, float]:
        """Rounding of the results, from tiny smooth motions, and the time of a call."""
        direction, windows, took = self.random.standard_normal(self.base.positions.shape), [], []
        for centre in (0.0, 0.011, -0.013):
            windows.append([])
            for t in centre + Rounding.TIMES:
                began = perf_counter()
                windows[-1].append(self(moved(self.base, t * direction), stress=True))
                took.append(perf_counter() - began)
        energies = [[values.energy for values in window] for window in windows]
        least = self._least_change(energies, direction)
        return of_smooth_motions(windows, least, len(self.base)), float(np.median(took))

    def _least_change(self, windows: list[list[float]], direction: np.ndarray) -> float:
        """How far energies stay as they are while they should change, in eV.

        Where that is half of a window or more, by motions that are longer, until they show whole steps of the energy.
        """
        derivative, factor = -float((self.values.forces * direction).sum()), 1.0
        change = max(stuck(energies, derivative * Rounding.TIMES) for energies in windows)
        while 4 * change >= abs(derivative) * factor * np.ptp(Rounding.TIMES) and factor < 100:
            factor *= 10
            times = factor * Rounding.TIMES
            change = stuck([self(moved(self.base, t * direction)).energy for t in times], derivative * times)
        return change

    def affordable(self, share: float) -> int:
        """How many calls fit into this share of the time, on a structure as large as the base."""
        return int(min(share * self.seconds / max(self.seconds_a_call, 1e-6), 100_000))

    def timed(self, atoms: Atoms, stress: bool = False) -> Values:
        """What the calculator says of the atoms; the time that it took is known from then on."""
        began = perf_counter()
        values = self(atoms, stress)
        took = max(perf_counter() - began, 1e-9)
        self.took[len(atoms)] = min(took, self.took.get(len(atoms), np.inf))
        return values

    def fits(self, share: float, atoms: int) -> bool:
        """Whether a call for so many atoms, as far as is known, takes no more than this share of the time."""
        return self.expected(atoms) <= share * self.seconds

    def expected(self, atoms: int) -> float:
        """Seconds of a call for so many atoms: the power of their number by which the two largest known ones differ.

        A small call says little of a large one, which may take as long (overhead) or a thousand times longer.
        """
        if larger := [took for count, took in self.took.items() if count >= atoms]:
            return min(larger)
        *smaller, (count, took) = sorted(self.took.items())
        power = 1.0
        if smaller:
            power = np.log(took / max(smaller[-1][1], 1e-9)) / np.log(count / smaller[-1][0])
        return took * (atoms / count) ** float(np.clip(power, 0.0, 3.0))

    @cached_property
    def symbols(self) -> list[str]:
        """The elements of the structure."""
        return sorted(set(self.base.get_chemical_symbols()))

    def name(self, atom: int) -> str:
        """An atom for the eye."""
        return f"atom {atom} ({self.base.symbols[atom]})"

    def periodic(self) -> np.ndarray:
        """The periodic directions. Raises NotApplicable where there are none."""
        if not self.base.pbc.any():
            raise NotApplicable("the structure is not periodic")
        return np.flatnonzero(self.base.pbc)

    def differences(self, expected: Values, actual: Values, where: str, copies: int = 1) -> list[Deviation]:
        """Energy, forces and stress of one structure written in two ways; or of `copies` times that structure."""
        rounding = self.rounding
        energy = abs(actual.energy - copies * expected.energy)
        forces = abs(actual.forces - np.tile(expected.forces, (copies, 1))).max(initial=0.0)
        quantities = [
            Deviation("energy", energy, copies * rounding.energy_bound, "eV", where),
            Deviation("forces", forces, rounding.force_bound, "eV/Angstrom", where),
        ]
        if expected.stress is not None and actual.stress is not None:
            stress = abs(actual.stress - expected.stress).max()
            quantities.append(Deviation("stress", stress, rounding.stress_bound, "eV/Angstrom^3", where))
        return quantities


def compute(calculator, atoms: Atoms, stress: bool) -> Values:
    """What a calculator says of a copy of the atoms. Raises Refusal for what it raises."""
    atoms = atoms.copy()
    atoms.calc = calculator
    try:
        tension = np.array(atoms.get_stress(voigt=False)) if stress else None
        return Values(energy_of(atoms), np.array(atoms.get_forces(), dtype=float), tension)
    except Exception as error:
        raise refusal(error) from None


def energy_of(atoms: Atoms) -> float:
    """The energy that the forces are derivatives of."""
    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except PropertyNotImplementedError:
        return float(atoms.get_potential_energy())


def refusal(error: Exception) -> Refusal:
    """An error of a calculator in one line."""
    line = (str(error).splitlines() or [""])[0][:200]
    return Refusal(f"{type(error).__name__}{': ' * bool(line)}{line}")


def moved(atoms: Atoms, displacement: np.ndarray) -> Atoms:
    """A copy with atoms displaced by (n, 3) Angstrom."""
    atoms = atoms.copy()
    atoms.positions += displacement
    return atoms


def strained(atoms: Atoms, deformation: np.ndarray) -> Atoms:
    """A copy with positions and cell times a matrix."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=False)
    atoms.positions = atoms.positions @ deformation
    return atoms


def displaced(atoms: Atoms, random: np.random.Generator) -> Atoms:
    """The structure that is judged: without constraints, of two atoms or more, of no symmetry."""
    if len(atoms) == 1 and atoms.pbc.any():
        atoms = atoms.repeat([2 if first else 1 for first in np.arange(3) == np.argmax(atoms.pbc)])
    if len(atoms) < 2:
        raise InputError("a structure of one atom has no forces: give one of two or more, or a periodic one")
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.info, bare.arrays = dict(atoms.info), {name: values.copy() for name, values in atoms.arrays.items()}
    bare.positions += DISPLACEMENT * random.standard_normal(bare.positions.shape)
    if bare.pbc.any():
        strain = STRAIN * random.standard_normal((3, 3))
        bare = strained(bare, np.eye(3) + (strain + strain.T) / 2 * np.outer(bare.pbc, bare.pbc))
    return bare
