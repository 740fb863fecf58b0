"""Phonons of a crystal through phonopy: force constants from displaced supercells, a band structure from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator

from equitensor.errors import InputError

THZ = 1e12 * units._hplanck / units._e / units.invcm  # in 1/cm


@dataclass(frozen=True)
class Phonons:
    """A band structure; frequencies in 1/cm, negative where imaginary.

    | field       | shape  | meaning                                                                              |
    | ----------- | ------ | ------------------------------------------------------------------------------------ |
    | points      | (k, 3) | on the path, in reciprocal vectors of the primitive cell                             |
    | distances   | (k,)   | along the path, 2 pi / Angstrom; the same at both sides of a break                   |
    | frequencies | (k, m) | three for each atom of the primitive cell                                            |
    | labels      |        | of the special points: (distance, name), a break as "U|X"                            |
    | drift       | scalar | largest acoustic frequency at Gamma before the acoustic sum rule is imposed          |
    | supercells  | scalar | how many were computed                                                               |
    | cell        | (3, 3) | the primitive cell, Angstrom                                                         |
    """

    points: np.ndarray
    distances: np.ndarray
    frequencies: np.ndarray
    labels: list[tuple[float, str]]
    drift: float
    supercells: int
    cell: np.ndarray

    def at(self, name: str) -> np.ndarray:
        """(m,) the frequencies at a special point, G for Gamma. KeyError where the path does not go there."""
        for distance, names in self.labels:
            first, *second = names.split("|")
            if name in (first, *second):
                here = np.flatnonzero(np.isclose(self.distances, distance))
                return self.frequencies[here[0] if name == first else here[-1]]
        raise KeyError(name)


def check_phonopy() -> None:
    """Raise InputError where phonopy is not installed."""
    try:
        import phonopy  # noqa: F401
    except ImportError as error:
        raise InputError(f"phonons need the package phonopy ({error}): pip install equitensor[phonons]") from None


def phonons(
    calc: BaseCalculator,
    atoms: Atoms,
    supercell: Sequence[int] = (2, 2, 2),
    displacement: float = 0.01,
    num_points: int = 200,
) -> Phonons:
    """Phonons of a relaxed crystal, from forces in displaced supercells.

    The response to a displacement should vanish within half the supercell, since periodic images cannot be told apart.
    Constraints are ignored. The non-analytical correction (LO-TO splitting) is not included.

    Args:
        calc: any ASE calculator.
        atoms: the crystal.
        supercell: number of cells along a, b and c.
        displacement: in Angstrom.
        num_points: on the path in reciprocal space, that of Setyawan and Curtarolo (10.1016/j.commatsci.2010.05.010)
            from ASE.

    Raises:
        InputError: phonopy is missing, the structure is not periodic, the supercell is repeated along a direction that
            is not periodic, or the cell has no volume.
    """
    check_phonopy()
    repeats = np.asarray(supercell, dtype=int)
    _check(atoms, repeats, displacement)
    phonon = _of_unit_cell(atoms, repeats)
    phonon.generate_displacements(distance=displacement)
    displaced = phonon.supercells_with_displacements
    phonon.forces = np.array([_forces(calc, each, atoms.pbc) for each in displaced])
    phonon.produce_force_constants()
    gamma = np.zeros((1, 3))
    drift = float(np.sort(abs(_frequencies(phonon, gamma)[0]))[:3].max())
    phonon.symmetrize_force_constants(show_drift=False)
    cell = np.array(phonon.primitive.cell)
    path = _path(cell, atoms.pbc, num_points)
    distances, ticks, names = path.get_linear_kpoint_axis()
    return Phonons(
        points=path.kpts,
        distances=distances,
        frequencies=_frequencies(phonon, path.kpts),
        labels=_labels(ticks, names),
        drift=drift,
        supercells=len(displaced),
        cell=cell,
    )


def _check(atoms, supercell, displacement) -> None:
    if not atoms.pbc.any():
        raise InputError("the structure is not periodic, it has no phonons: see `equitensor vibrations`")
    if supercell.shape != (3,) or (supercell < 1).any():
        raise InputError(f"the supercell is {supercell.tolist()}: say three whole numbers, 1 or more")
    repeated = [name for name, periodic, count in zip("abc", atoms.pbc, supercell, strict=True) if count > 1 > periodic]
    if repeated:
        raise InputError(f"the structure is not periodic along {', '.join(repeated)}: say 1 there in the supercell")
    if not abs(np.linalg.det(atoms.cell.array)) > 0:
        raise InputError("the cell has no volume: give it a vector along the vacuum too")
    if not displacement > 0:
        raise InputError(f"the displacement is {displacement} Angstrom; it must be above 0")


def _of_unit_cell(atoms, supercell):
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms
    from phonopy.structure.cells import guess_primitive_matrix

    unit = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        masses=atoms.get_masses(),
    )
    # A primitive cell may turn the axes, of which one is vacuum in a slab.
    primitive = guess_primitive_matrix(unit) if atoms.pbc.all() else np.eye(3)
    return Phonopy(unit, supercell_matrix=np.diag(supercell), primitive_matrix=primitive)


def _forces(calc, cell, pbc) -> np.ndarray:
    atoms = Atoms(cell.symbols, scaled_positions=cell.scaled_positions, cell=cell.cell, pbc=pbc, calculator=calc)
    return np.array(atoms.get_forces(), dtype=np.float64)


def _frequencies(phonon, points) -> np.ndarray:
    """(k, m) 1/cm at points (k, 3), rising."""
    phonon.run_qpoints(points)
    return THZ * np.array(phonon.qpoints.frequencies)


def _path(cell, pbc, num_points):
    atoms = Atoms(cell=cell, pbc=pbc)
    try:
        return atoms.cell.bandpath(npoints=num_points, pbc=pbc)
    except (ValueError, NotImplementedError, AssertionError, RuntimeError) as error:
        raise InputError(f"there is no path through reciprocal space for this cell ({error})") from None


def _labels(ticks, names) -> list[tuple[float, str]]:
    """Names at distances, both sides of a break as one."""
    labels: list[tuple[float, str]] = []
    for distance, name in zip(ticks.tolist(), names, strict=True):
        if labels and np.isclose(labels[-1][0], distance):
            distance, before = labels.pop()
            name = f"{before}|{name}"
        labels.append((distance, name))
    return labels
