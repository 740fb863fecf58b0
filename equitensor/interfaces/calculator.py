"""The ASE calculator: energies, forces and stress of a potential, in ASE's names and units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress

from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.interfaces.backend import open_engine
from equitensor.interfaces.one_at_a_time import OneAtATime
from equitensor.interfaces.structure_check import StructureCheck, no_stress

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from ase import Atoms

    from equitensor.interfaces.evaluator import Model
    from equitensor.models import ErrorBars, Potential

ERROR_BARS = ("energy_std", "forces_std", "novelty")


class Calculator(AseCalculator):
    """A potential as an ASE calculator.

    | result              | shape  | unit         | note                                                   |
    | ------------------- | ------ | ------------ | ------------------------------------------------------ |
    | energy, free_energy | scalar | eV           | the same number                                        |
    | energies            | (n,)   | eV           | of each atom, its E0 included; they sum to the energy  |
    | forces              | (n, 3) | eV/Angstrom  |                                                        |
    | stress              | (6,)   | eV/Angstrom3 | xx, yy, zz, yz, xz, xy; tension positive; of full pbc  |

    With error bars in the model file (`equitensor uncertainty`; equitensor.models.ErrorBars says what they are):

    | result              | shape  | unit         | note                                                   |
    | ------------------- | ------ | ------------ | ------------------------------------------------------ |
    | energy_std          | scalar | eV           | the error is within 1.645 times it in 90 % of cases    |
    | forces_std          | (n,)   | eV/Angstrom  | the same of each component of the force on an atom     |
    | novelty             | (n,)   | 1            | of the atom's surroundings; 1: rarer in training data  |

    Args: model, a model file, by its name one that comes with equitensor ("organics"), or a Potential (which is copied,
    not changed), or a list of them: a committee, which gives
    the means, with error bars from how far its members differ (`equitensor uncertainty --committee`); device, "auto"
    takes a GPU where there is one; dtype, "float32", "float64", or None for that of the model; skin in Angstrom, how
    far beyond the cutoff neighbours are searched so that the list serves many steps (0: search at every step); stress,
    "periodic" (of structures that are periodic along a, b and c) or "cell" (also of slabs, wires and molecules in a
    cell: (1/V) dE/d(strain) with V the volume of that cell, vacuum included); backend, "core" (compiled, without torch,
    on CPUs), "torch", or "auto", the core where it can: `backend` and `why` then say which and the reason, the values
    are the same to rounding; threads of the core, None for OMP_NUM_THREADS or all cores, fewer for small structures;
    error_bars, False: do without those of the model file; d3, functional and damping as "pbe-bj", adds that dispersion
    by the package dftd3: a model that learned labels without it gets it unasked, and the attribute `d3` names what is
    added.

    Raises InputError for a backend that cannot compute the model, a d3 beside the model's own, an element that the
    model does not know, a cell that does not span the periodic directions or is a placeholder, and two atoms in one
    place; PropertyNotImplementedError for a stress that there is not.
    RuntimeError where two threads use one calculator (give each its own), and in a process that was forked off after
    a computation with several threads, where OpenMP would hang (start workers with "spawn").
    """

    # ASE declares it so, and an instance may have more.
    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        model: str | Path | Potential,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype | None = "float32",
        skin: float = 0.5,
        stress: Literal["periodic", "cell"] = "periodic",
        backend: Literal["auto", "core", "torch"] = "auto",
        threads: int | None = None,
        error_bars: bool = True,
        d3: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(skin, int | float) or not 0 <= skin < np.inf:
            raise InputError(f"skin is {skin!r}; it must be a length in Angstrom, 0 or more")
        if stress not in ("periodic", "cell"):
            raise InputError(f"stress is {stress!r}: say periodic or cell")
        self.stress, self.skin = stress, float(skin)
        self._engine, self.why = open_engine(model, device, dtype, self.skin, backend, threads, d3, error_bars)
        if self._engine.error_bars is not None:
            self.implemented_properties = [*self.implemented_properties, *ERROR_BARS]
        self._check = StructureCheck(self._engine.elements)
        self._alone = OneAtATime()

    @property
    def backend(self) -> str:
        """What computes, "core" or "torch"; `why` says the reason."""
        return self._engine.backend

    @property
    def d3(self) -> str | None:
        """The dispersion that is among the results, as "pbe-bj"; None where there is none."""
        return self._engine.d3.name if hasattr(self._engine, "d3") else None

    @property
    def model(self) -> Potential | Model:
        """The Potential that computes, or the model file as the core has opened it."""
        return self._engine.model

    @property
    def elements(self) -> list[str]:
        """The chemical symbols of the elements that the model knows."""
        return [chemical_symbols[z] for z in self._engine.elements]

    @property
    def error_bars(self) -> ErrorBars | None:
        """The `equitensor.models.ErrorBars` of the model file, None where it has none."""
        return self._engine.error_bars

    @property
    def coordination(self) -> np.ndarray:
        """(n,) neighbours within the cutoff of each atom, in the structure computed last."""
        return self._engine.coordination

    def descriptors(self, atoms: Atoms) -> np.ndarray:
        """(n, d) features of each atom that no rotation, reflection or translation changes."""
        with self._alone:
            return self._engine.descriptors(self._structure(atoms))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute all results at once (ASE calls this)."""
        with self._alone:
            super().calculate(atoms, properties, system_changes)
            self._calculate("stress" in properties, "energies" in properties)

    def _calculate(self, stress_asked: bool, energies_asked: bool):
        cell, pbc = self.atoms.cell.array, self.atoms.pbc
        has_stress = bool(pbc.all() or (self.stress == "cell" and abs(np.linalg.det(cell)) > 0))
        if stress_asked and not has_stress:
            raise PropertyNotImplementedError(no_stress(cell, pbc))
        out = self._compute(self._structure(self.atoms), has_stress, energies_asked)
        self.results = {"free_energy": out["energy"], **out}
        if has_stress:
            self.results["stress"] = full_3x3_to_voigt_6_stress(out["stress"])

    def _compute(self, structure: Structure, stress: bool, energies: bool) -> dict:
        if self.d3 is None:
            return self._engine.compute(structure, stress)
        return self._engine.compute(structure, stress, energies=energies)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What the energy depends on and has changed since the last call: exact, quicker than ASE's check."""
        if self.atoms is None:
            return all_changes
        pairs = {name: (getattr(atoms, name), getattr(self.atoms, name)) for name in ("positions", "numbers", "pbc")}
        pairs["cell"] = (atoms.cell.array, self.atoms.cell.array)
        return [name for name, (now, last) in pairs.items() if not np.array_equal(now, last)]

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """One result of a structure, computed if needed (ASE calls this)."""
        with self._alone:
            return super().get_property(name, atoms, allow_calculation)

    def _structure(self, atoms) -> Structure:
        numbers, cell, pbc = atoms.numbers.astype(np.int64), atoms.cell.array.astype(np.float64), atoms.pbc.astype(bool)
        pos = np.array(atoms.positions, dtype=np.float64)
        self._check(numbers, pos, cell, pbc)
        return Structure(numbers, pos, cell, pbc)
