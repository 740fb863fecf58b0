"""Relaxation of a structure, and of its cell, to a minimum of the energy."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE2

from equitensor.errors import InputError


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
    atoms,
    fmax: float = 0.01,
    cell: bool = False,
    steps: int = 1000,
    on_step: Callable[[int, float, float], None] | None = None,
) -> Relaxation:
    """Move atoms that have a calculator downhill until no force exceeds fmax, eV/Angstrom, with FIRE 2.0.

    (Guenole et al., Comput. Mater. Sci. 175, 109584, 2020.) With `cell` the lattice vectors relax too; its
    force, the virial, is held to the same fmax. on_step sees (step, energy eV, largest force). The atoms are
    changed in place. Raises InputError for a cell that is not periodic along a, b and c.
    """
    if cell and not atoms.pbc.all():
        raise InputError(
            "the structure is not periodic along a, b and c: it has no cell to relax; leave --cell out"
        )
    if not fmax > 0:
        raise InputError(f"fmax is {fmax} eV/Angstrom; it must be above 0")
    optimizer = FIRE2(FrechetCellFilter(atoms) if cell else atoms, logfile=None)
    converged = False
    for done in optimizer.irun(fmax=fmax, steps=steps):
        converged = bool(done)
        largest = _largest_force(atoms)
        if not np.isfinite(largest):
            break
        if on_step:
            on_step(optimizer.nsteps, atoms.get_potential_energy(), largest)
    smax = float(np.abs(atoms.get_stress()).max()) if cell else None
    return Relaxation(
        bool(converged), optimizer.nsteps, atoms.get_potential_energy(), _largest_force(atoms), smax
    )


def _largest_force(atoms) -> float:
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())
