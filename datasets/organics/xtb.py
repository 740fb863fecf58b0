"""GFN2-xTB as a calculator of ASE, with the labels of this data set: what a model that learned them is checked by."""

from importlib import metadata

import numpy as np
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.units import Bohr, Hartree
from labels import Labels

VERSIONS = {"of_reference": {name: metadata.version(name) for name in ("tblite", "rdkit")}}


class GFN2(Calculator):
    """Energies (eV) and forces (eV/Angstrom) of neutral closed shells; each call starts from the density before.

    Raises CalculationFailed where the charges do not converge.
    """

    implemented_properties = ("energy", "forces")

    def __init__(self) -> None:
        super().__init__()
        self._labels, self._numbers = None, None

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        positions = self.atoms.positions / Bohr
        if self._labels is None or not np.array_equal(self._numbers, self.atoms.numbers):
            self._labels, self._numbers = Labels(self.atoms.numbers, positions), self.atoms.numbers.copy()
        frame = self._labels.frame(positions)
        if frame is None:
            raise CalculationFailed(f"GFN2-xTB of {self.atoms.get_chemical_formula()} did not converge")
        self.results = {"energy": frame.energy * Hartree, "forces": -frame.gradient * (Hartree / Bohr)}
