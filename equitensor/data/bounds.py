"""Bounds that every structure keeps: energies above those of all electrons, distances near the covalent ones."""

from dataclasses import dataclass, field

import numpy as np
from ase.data import covalent_radii

from equitensor.graph import Structure, neighbor_list

_HARTREE = 27.211386
_DEEPEST = 1.5  # times the energies of the atoms; bonds (H2: 1.09) and relativity (U: 1.1) stay far below
_SAME = 0.03
_NOBLE = (2, 10, 18, 36, 54, 86)  # gases, whose atoms touch far outside their covalent radii
_CLASH, _SHORT, _LONG = 0.5, 0.62, 1.4  # of the sum of the covalent radii; nearest pairs have 0.75 to 1.1
_OUT_OF_SIGHT = 1.5
_ENERGY_UNITS = {"kcal/mol": 23.0605, "kJ/mol": 96.4853, "meV": 1000.0}


def all_electron_energy(z) -> float:
    """Energy in eV of neutral atoms with all their electrons, to about 5 %: non-relativistic, by the expansion of Scott
    and Schwinger, E = -0.768745 Z^(7/3) + Z^2/2 - 0.2699 Z^(5/3) Hartree (Phys. Rev. A 24, 2353)."""
    z = np.asarray(z, dtype=np.float64)
    return float(np.sum(-0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.2699 * z ** (5 / 3))) * _HARTREE


@dataclass
class EnergyBound:
    """Collects energies structure by structure, in units of those of their atoms with all electrons."""

    deepest: float = 0.0
    highest: float = 0.0
    where: str = ""
    per_atom: float = 0.0
    molecules: list[float] = field(default_factory=list)
    periodic: bool = False

    def add(self, structure: Structure):
        if structure.energy is None:
            return
        ratio = structure.energy / all_electron_energy(structure.z)
        if ratio > self.deepest:
            self.deepest, self.where = ratio, structure.source
            self.per_atom = structure.energy / len(structure)
        self.highest = min(self.highest, ratio)
        self.periodic |= bool(structure.pbc.any())
        if len(structure) > 1:
            self.molecules.append(ratio)

    def warning(self) -> str | None:
        """A sentence where an energy lies below that of all electrons, or where all are those in Hartree."""
        if self.deepest > _DEEPEST:
            fits = [unit for unit, size in _ENERGY_UNITS.items() if abs(self.deepest / size - 1) < 2 * _SAME]
            hint = f": {fits[0]} would fit" if fits else ", leave it out if it is set, or remove the frame"
            return (
                f"{self.where or 'one energy'}: {self.per_atom:.6g} eV per atom is {self.deepest:.3g} times the energy "
                f"of the atoms with all their electrons. Name the unit with energy_unit{hint}"
            )
        if self.highest < -0.5:
            return (
                "energies are positive and as large as those of the atoms with all their electrons. If their sign is "
                "turned, say energy_unit: -eV (with a minus)"
            )
        ratios = np.array(self.molecules)
        if len(ratios) and not self.periodic and np.all(np.abs(ratios * _HARTREE - 1) < _SAME):
            return (
                "energies look like Hartree: they are those of the atoms with all their electrons, divided by 27.2. "
                "Name the unit with energy_unit: Hartree"
            )
        return None


@dataclass
class DistanceBound:
    """Collects the shortest distances structure by structure, in Angstrom and in units of covalent radii."""

    shortest: float = np.inf
    nearest: list[float] = field(default_factory=list)
    clash: tuple[float, str, str] = (np.inf, "", "")

    def add(self, structure: Structure):
        distance, ratio, pair = nearest_pair(structure)
        self.shortest = min(self.shortest, distance)
        if np.isin(structure.z, _NOBLE).any() or (len(structure) == 1 and not structure.pbc.any()):
            return
        self.nearest.append(min(ratio, _OUT_OF_SIGHT))
        if ratio < self.clash[0]:
            self.clash = ratio, structure.source, pair

    def warning(self) -> str | None:
        """A sentence where distances are those of another unit of length, or where atoms of one structure clash."""
        if not self.nearest:
            return None
        ratio, where, pair = self.clash
        middle = float(np.median(self.nearest))
        if middle > _LONG and min(self.nearest) > 1:  # a scan of a dissociation has near atoms too
            return (
                f"the nearest atoms of a structure are {middle:.3g} times the sum of their covalent radii apart, and "
                "nowhere nearer than that sum. If lengths are in Bohr, say length_unit: Bohr"
            )
        if middle < _SHORT:
            return (
                f"the nearest atoms of a structure are only {middle:.3g} times the sum of their covalent radii apart "
                f"({pair} in {where or 'one structure'}). If lengths are in nm, say length_unit: nm; if length_unit "
                "is set, leave it out"
            )
        if ratio < _CLASH:
            return (
                f"{where or 'one structure'}: {pair} apart, {ratio:.2g} times the sum of their covalent radii: "
                "remove or repair this frame"
            )
        return None


def nearest_pair(structure: Structure) -> tuple[float, float, str]:
    """Shortest distance; smallest distance over the sum of covalent radii, and its pair of atoms in words.

    Infinite where no pair is within 1.5 times the largest sum.
    """
    radius = covalent_radii[structure.z]
    (i, j), shift, _ = neighbor_list(structure.pos, structure.cell, structure.pbc, 2 * _OUT_OF_SIGHT * radius.max())
    if len(i) == 0:
        return np.inf, np.inf, ""
    distance = np.linalg.norm(structure.pos[j] - structure.pos[i] + shift @ structure.cell, axis=1)
    ratio = distance / (radius[i] + radius[j])
    k = int(np.argmin(ratio))
    pair = f"atoms {min(i[k], j[k])} and {max(i[k], j[k])} are {distance[k]:.3g} Angstrom"
    return float(distance.min()), float(ratio[k]), pair
