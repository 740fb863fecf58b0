"""Dispersion by DFT-D3 (Grimme et al. 2010, 2011), as the package dftd3 computes it, beside a potential."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr, Hartree

from equitensor.errors import InputError
from equitensor.graph import Structure

DAMPINGS = {
    "bj": "RationalDampingParam",
    "zero": "ZeroDampingParam",
    "bjm": "ModifiedRationalDampingParam",
    "zerom": "ModifiedZeroDampingParam",
}
_MARGIN = 1.0  # Angstrom
_LAST_ELEMENT = 103  # beyond it the package gives zeros


@dataclass(frozen=True)
class Dispersion:
    """What D3 adds to a structure: energy eV, forces (n, 3) eV/Angstrom, stress (3, 3) eV/Angstrom^3, tension positive.

    The stress is None where none was asked for.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray | None = None

    def added_to(self, structure: Structure, sign: float = 1.0) -> Structure:
        """The structure, whose labels have this too, or with sign -1 not any more; those that it lacks stay None."""
        own: dict[str, Any] = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        given = {name: getattr(structure, name) for name in own}
        here = [name for name, value in given.items() if value is not None and own[name] is not None]
        return structure.replace(**{name: given[name] + sign * own[name] for name in here})

    def added_to_results(self, out: dict) -> dict:
        """The results of a model, energy, forces and what else it computes, with this too."""
        own: dict[str, Any] = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        return out | {name: out[name] + value for name, value in own.items() if name in out and value is not None}


class D3:
    """The two-body terms of DFT-D3 for a functional, with the cutoffs of the package dftd3.

    Args: name, functional and damping (bj, zero, bjm, zerom), as "pbe-bj". Raises InputError if the package is not
    installed or does not know the functional.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise InputError(f"d3 is {name!r}: name a functional and its damping, as pbe-bj")
        self.name = name.lower()
        self.method, _, self.damping = self.name.rpartition("-")
        if not self.method or self.damping not in DAMPINGS:
            raise InputError(
                f"d3 is {name!r}: name a functional and its damping ({', '.join(DAMPINGS)}), as pbe-bj or b3lyp-zero"
            )
        self._open()

    def _open(self) -> None:
        try:
            from dftd3 import interface
        except ImportError as error:
            raise InputError(f"d3 {self.name} needs the package dftd3 ({error}): pip install equitensor[d3]") from None
        self._model = interface.DispersionModel
        try:
            self._parameters = getattr(interface, DAMPINGS[self.damping])(method=self.method)
        except RuntimeError as error:
            raise InputError(f"d3 is {self.name!r}, which the package dftd3 does not know: {error}") from None

    def __getstate__(self):
        return {"name": self.name, "method": self.method, "damping": self.damping}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._open()

    def compute(self, structure: Structure, stress: bool = False) -> Dispersion:
        """The contributions to a structure. Raises InputError for an element without parameters."""
        where = _where(structure)
        results = self._evaluated(structure, where, "get_dispersion", grad=True)
        energy, forces = float(results["energy"]) * Hartree, -np.asarray(results["gradient"]) * (Hartree / Bohr)
        virial = np.asarray(results["virial"]) * Hartree if stress else np.zeros((3, 3))
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(virial).all()):
            raise InputError(f"{where}d3 {self.name} is not finite: is the structure a sensible one?")
        return Dispersion(energy, forces, virial / abs(np.linalg.det(structure.cell)) if stress else None)

    def energies(self, structure: Structure) -> np.ndarray:
        """(n,) eV, half of the energy of each atom with every other."""
        pairs = self._evaluated(structure, _where(structure), "get_pairwise_dispersion")
        return sum(np.asarray(part).sum(axis=1) for part in pairs.values()) * Hartree

    def _evaluated(self, structure: Structure, where: str, name: str, **options) -> dict:
        if structure.z.max(initial=0) > _LAST_ELEMENT:
            raise InputError(f"{where}d3 has no parameters for {chemical_symbols[structure.z.max()]}")
        try:
            pos, cell = _boxed(structure)
            model = self._model(structure.z, pos / Bohr, cell / Bohr, structure.pbc)
            return getattr(model, name)(param=self._parameters, **options)
        except RuntimeError as error:
            raise InputError(f"{where}d3 {self.name}: {error}") from None


def d3_of(own: str | None, asked: str | None) -> D3 | None:
    """The D3 to add to a model whose labels had `own` subtracted, if a user asks for `asked`.

    Raises InputError if both are given, since the dispersion would count twice.
    """
    if own is not None and asked is not None:
        raise InputError(
            f"d3 is {asked!r}, but d3 {own} was taken off the labels that the model learned, and is added by itself: "
            "leave d3 out"
        )
    name = own if asked is None else asked
    return None if name is None else D3(name)


def _where(structure: Structure) -> str:
    return f"{structure.source}: " if structure.source else ""


def _boxed(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Positions and cell, with the atoms inside of it along what is not periodic.

    The package moves atoms of slabs and wires into the cell along all its vectors, which parts those that stick out.
    """
    pos, cell, pbc = structure.pos, np.array(structure.cell, dtype=np.float64), np.asarray(structure.pbc, dtype=bool)
    if pbc.all() or not pbc.any():
        return pos, cell
    normals = np.linalg.svd(cell[pbc])[2][pbc.sum() :]  # at right angles to the periodic vectors
    heights = pos @ normals.T
    low = heights.min(axis=0) - _MARGIN
    cell[~pbc] = normals * (heights.max(axis=0) + _MARGIN - low)[:, None]
    return pos - low @ normals, cell
