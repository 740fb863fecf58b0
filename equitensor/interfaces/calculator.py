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
    | energy, free_energy | scalar | eV           | the same value                                         |
    | energies            | (n,)   | eV           | atomic energies with their E0s; they sum to the energy |
    | forces              | (n, 3) | eV/Angstrom  |                                                        |
    | stress              | (6,)   | eV/Angstrom3 | xx, yy, zz, yz, xz, xy; tension positive               |

    If the model file has error bars (see `equitensor uncertainty` and equitensor.models.ErrorBars):

    | result              | shape  | unit         | note                                                   |
    | ------------------- | ------ | ------------ | ------------------------------------------------------ |
    | energy_std          | scalar | eV           | the error is below 1.645 times this in 90 % of cases   |
    | forces_std          | (n,)   | eV/Angstrom  | the same for each component of the force on an atom    |
    | novelty             | (n,)   | 1            | above 1: unusual compared with the training data       |

    Args:
        model: a model file, the name of a model that comes with equitensor ("organics"), a Potential (which is copied),
            or a list of these: a committee, whose results are means with error bars from the spread of its members.
        device: "cpu", "cuda", or "auto": a GPU if available.
        dtype: "float32", "float64", or None for that of the model.
        skin: distance in Angstrom beyond the cutoff up to which neighbours are listed, so that a list can be reused
            until atoms have moved by half of it; 0 makes a new list for every call.
        stress: "periodic", only for structures that are periodic along a, b and c; or "cell", also for others:
            (1/V) dE/d(strain) with the volume V of the cell, vacuum included.
        backend: "core" (compiled, without torch, on CPUs), "torch", or "auto": the core if possible. Results agree to
            rounding; the attributes `backend` and `why` say which one is used and why.
        threads: threads of the core; None: OMP_NUM_THREADS or all cores, fewer for small structures.
        error_bars: False leaves out the error bars of the model file.
        d3: functional and damping, as "pbe-bj", of a D3 dispersion to add with the package dftd3. It is added
            automatically for models trained on labels without dispersion; the attribute `d3` names it.

    Raises:
        InputError: a backend that cannot compute the model, a second d3, an element that the model does not know, a
            cell that is a placeholder or does not span the periodic directions, two atoms in the same place.
        PropertyNotImplementedError: the stress of a structure that has none.
        RuntimeError: two threads use one calculator at the same time (give each its own), or a process was forked after
            a computation with several threads, in which OpenMP would hang (start workers with "spawn").
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
        """The backend in use, "core" or "torch"; `why` gives the reason."""
        return self._engine.backend

    @property
    def d3(self) -> str | None:
        """The dispersion included in the results, as "pbe-bj", or None."""
        return self._engine.d3.name if hasattr(self._engine, "d3") else None

    @property
    def model(self) -> Potential | Model:
        """The Potential, or the model file as opened by the core."""
        return self._engine.model

    @property
    def elements(self) -> list[str]:
        """The chemical symbols of the elements that the model knows."""
        return [chemical_symbols[z] for z in self._engine.elements]

    @property
    def error_bars(self) -> ErrorBars | None:
        """The equitensor.models.ErrorBars of the model file, or None."""
        return self._engine.error_bars

    @property
    def coordination(self) -> np.ndarray:
        """(n,) number of neighbours within the cutoff of each atom in the last structure."""
        return self._engine.coordination

    def descriptors(self, atoms: Atoms) -> np.ndarray:
        """(n, d) features of each atom, invariant under rotation, reflection and translation."""
        with self._alone:
            return self._engine.descriptors(self._structure(atoms))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute all results at once (called by ASE)."""
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
        """The properties that changed since the last call; exact, and faster than in ASE."""
        if self.atoms is None:
            return all_changes
        pairs = {name: (getattr(atoms, name), getattr(self.atoms, name)) for name in ("positions", "numbers", "pbc")}
        pairs["cell"] = (atoms.cell.array, self.atoms.cell.array)
        return [name for name, (now, last) in pairs.items() if not np.array_equal(now, last)]

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """One result for a structure, computed if necessary (called by ASE)."""
        with self._alone:
            return super().get_property(name, atoms, allow_calculation)

    def _structure(self, atoms) -> Structure:
        numbers, cell, pbc = atoms.numbers.astype(np.int64), atoms.cell.array.astype(np.float64), atoms.pbc.astype(bool)
        pos = np.array(atoms.positions, dtype=np.float64)
        self._check(numbers, pos, cell, pbc)
        return Structure(numbers, pos, cell, pbc)
