"""Relaxation of a structure, and of its cell, to a minimum of the energy."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS

from equitensor.errors import InputError
from equitensor.interfaces.constraints import check_cell_relaxation, exact_constraints
from equitensor.interfaces.stability import ADVICE, UnstableError, coordination, geometry_fault, refusals_are_unstable


@dataclass(frozen=True)
class Relaxation:
    """How it ended: fmax is the largest force (eV/Angstrom), smax the largest stress (eV/Angstrom^3).

    Of the fixed atoms no force is counted. smax is None unless the cell was relaxed.
    """

    converged: bool
    steps: int
    energy: float
    fmax: float
    smax: float | None


def relax(
    atoms: Atoms,
    fmax: float = 0.01,
    cell: bool = False,
    steps: int = 1000,
    on_step: Callable[[int, float, float], None] | None = None,
) -> Relaxation:
    """Relax atoms that have a calculator with L-BFGS, until no force exceeds `fmax`, in eV/Angstrom.

    With `cell` the lattice vectors relax too, until the virial per atom, max |stress| V / n (eV), is also below `fmax`;
    fixed atoms then keep their scaled coordinates. on_step is called with (step, energy in eV, largest force). The
    atoms are changed in place. Raises InputError for a cell that is not periodic along a, b and c or whose constraints
    are tied to the Cartesian frame, and UnstableError if the structure blows up.
    """
    if cell and not atoms.pbc.all():
        raise InputError("the structure is not periodic along a, b and c, it has no cell to relax: leave --cell out")
    if not fmax > 0:
        raise InputError(f"fmax is {fmax} eV/Angstrom; it must be above 0")
    if cell:
        check_cell_relaxation(atoms)
    atoms.get_forces()
    with nullcontext() if cell else exact_constraints(atoms):
        return _relax(atoms, fmax, cell, steps, on_step)


def _relax(atoms, fmax, cell, steps, on_step) -> Relaxation:
    bound = coordination(atoms) > 0
    moving: Any = FrechetCellFilter(atoms) if cell else atoms
    quiet: Any = None  # ASE's annotation leaves it out
    optimizer = LBFGS(moving, logfile=quiet)
    result: Relaxation
    for step in _steps(optimizer, steps):
        if fault := geometry_fault(atoms, bound):
            raise UnstableError(f"relaxation step {step}: {fault}; {ADVICE}")
        result = _state(atoms, step, fmax, cell)
        if on_step:
            on_step(step, result.energy, result.fmax)
        if result.converged:
            break
    return result


def _steps(optimizer, steps):
    """The number of every step; what the calculator refuses on the way is the optimiser's doing.

    ASE's own test of convergence is left out (fmax=0): with a cell it sees forces in deformed coordinates.
    """
    with refusals_are_unstable(lambda: f"after relaxation step {optimizer.nsteps}"):
        for _ in optimizer.irun(fmax=0, steps=steps):
            yield optimizer.nsteps


def _state(atoms, step, fmax, cell) -> Relaxation:
    force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    smax = float(np.abs(atoms.get_stress()).max()) if cell else None
    virial = smax * atoms.get_volume() / len(atoms) if cell else 0.0
    return Relaxation(max(force, virial) < fmax, step, atoms.get_potential_energy(), force, smax)
