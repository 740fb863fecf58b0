"""Whether LAMMPS gives the energy, forces and stress that the calculator gives."""

import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.interfaces.backend import dispersion
from equitensor.interfaces.lammps import inputs, program
from equitensor.models import model_path

# Largest differences in float64, relative: of the energy to itself, of forces to their root mean square, of the stress
# to its largest component.
BOUNDS = {"energy": 1e-10, "forces": 1e-8, "stress": 1e-8}
# LAMMPS's own constant for pressures in units metal, which is not quite that of CODATA: bar in eV/Angstrom^3.
_BAR = 1 / 1.6021765e6


class Values(NamedTuple):
    """energy in eV, forces (n, 3) in eV/Angstrom, stress (3, 3) in eV/Angstrom^3, tension positive.

    The stress is None where not all directions are periodic.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray | None


class Difference(NamedTuple):
    """One line of the check: the quantity, on how many ranks, how far from the calculator, and how far is allowed."""

    quantity: str
    ranks: int
    value: float
    bound: float

    @property
    def passed(self) -> bool:
        return bool(self.value <= self.bound)  # not so for nan


def check(model, atoms, ranks=(1, 2), displacement: float = 0.05) -> list[Difference]:
    """Compare LAMMPS with the calculator in float64, on the structure with atoms displaced at random (Angstrom)."""
    atoms = atoms.copy()
    atoms.positions += displacement * np.random.default_rng(0).standard_normal(atoms.positions.shape)
    expected = of_calculator(model, atoms)
    by_ranks = [(count, of_lammps(model, atoms, ranks=count)) for count in ranks]
    return [line for count, values in by_ranks for line in differences(expected, values, count)]


def differences(expected: Values, actual: Values, ranks: int) -> list[Difference]:
    """The relative differences of two results."""
    scale = np.sqrt(np.mean(expected.forces**2))
    values = {
        "energy": abs(actual.energy - expected.energy) / max(abs(expected.energy), 1e-300),
        "forces": abs(actual.forces - expected.forces).max() / max(scale, 1e-300),
    }
    if expected.stress is not None:
        values["stress"] = abs(actual.stress - expected.stress).max() / max(abs(expected.stress).max(), 1e-300)
    return [Difference(name, ranks, float(value), BOUNDS[name]) for name, value in values.items()]


def of_calculator(model, atoms) -> Values:
    """What the calculator says, in float64."""
    from equitensor.interfaces.calculator import Calculator

    atoms = atoms.copy()
    atoms.constraints = []
    atoms.calc = Calculator(model, device="cpu", dtype="float64", backend="torch")  # not what LAMMPS itself runs
    stress = atoms.get_stress(voigt=False) if atoms.pbc.all() else None
    return Values(atoms.get_potential_energy(), atoms.get_forces(), stress)


def of_lammps(model, atoms, ranks: int = 1, dtype: str = "float64", first: str = "", both: bool = False) -> Values:
    """What LAMMPS says; `first` are the first lines of its input.

    The dispersion that a model lacks is added here, by the package dftd3, so that what is compared is what we compute;
    with `both` it is LAMMPS that adds its own, as in the input that is written for users.
    """
    d3 = None if both else dispersion(model)
    atoms = atoms.copy()
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    prepared = inputs.box(atoms)
    with tempfile.TemporaryDirectory() as folder:
        inputs.write_data(Path(folder, "atoms.data"), prepared)
        path = model_path(model).resolve()
        script = first + inputs.setup(prepared, "atoms.data", path, dtype, without_d3=not both) + _OUTPUT
        printed = program.run(script, folder, ranks)
        rows = np.loadtxt(Path(folder, "forces"), skiprows=9, ndmin=2)
    shown = re.search(r"^found (.*)$", printed, re.MULTILINE)
    if shown is None:
        raise InputError(f"LAMMPS ended without its results: {printed.strip()[-500:]}")
    numbers = shown[1].split()
    energy, pressures = float(numbers[0]), -_BAR * np.array(numbers[1:], dtype=float)
    stress = None
    if atoms.pbc.all():
        stress = prepared.prism.tensor2_to_ase(pressures[[0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(3, 3))
    values = Values(energy, prepared.prism.vector_to_ase(rows), stress)
    if d3 is None:
        return values
    structure = Structure(atoms.numbers.astype(np.int64), atoms.positions, atoms.cell.array, atoms.pbc)
    return Values(**d3.compute(structure, stress is not None).added_to_results(values._asdict()))


_NAMES = ("pe", "pxx", "pyy", "pzz", "pxy", "pxz", "pyz")
_OUTPUT = (
    "thermo_style custom step pe pxx pyy pzz pxy pxz pyz\n"
    "dump forces all custom 1 forces fx fy fz\n"
    "dump_modify forces sort id format float %.17g\n"
    "run 0 post no\n"
    f'print "found {" ".join(f"$({name}:%.17g)" for name in _NAMES)}"\n'
)
