"""Molecular dynamics of many molecules at once, each by itself: Langevin and NVE.

They are computed together by the compiled evaluator and share no edges, wherever they move. It is given all pairs of
atoms of a molecule, of which it takes those within the cutoff: molecules are small, and so no list has to follow them.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units

from equitensor.interfaces.backend import open_bare


@dataclass(frozen=True)
class Conditions:
    """Temperature K, timestep fs, friction 1/ps: 0 is NVE."""

    temperature: float
    timestep: float
    friction: float = 0.0


class Molecules:
    """Positions `pos` (n, 3) and velocities `vel` of all atoms, in Angstrom and ASE's units; `numbers` of those left.

    Args: model, a file or the name of one, that the compiled evaluator computes in float32; molecules with momenta.
    """

    def __init__(self, model: str, molecules: list[Atoms]) -> None:
        engine, _ = open_bare(model, "cpu", "float32", backend="core", threads=1)
        self._rows = engine.rows
        self.left = list(range(len(molecules)))
        self.z = np.concatenate([atoms.numbers for atoms in molecules]).astype(np.int64)
        self.masses = np.concatenate([atoms.get_masses() for atoms in molecules])[:, None]
        self.pos = np.concatenate([atoms.positions for atoms in molecules])
        self.vel = np.concatenate([atoms.get_velocities() for atoms in molecules])
        self._set_sizes([len(atoms) for atoms in molecules])

    def _set_sizes(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.owner = np.repeat(np.arange(len(sizes)), sizes)
        if sizes:
            first = np.cumsum([0, *sizes])
            pairs = [first[k] + np.argwhere(~np.eye(size, dtype=bool)) for k, size in enumerate(sizes)]
            receiver, sender = np.concatenate(pairs).T
            self._rows.take(self.z, sender, receiver)
            self.compute()

    def compute(self) -> None:
        """`energy` (b,) in eV and `forces` (n, 3) in eV/Angstrom where the atoms are."""
        result = self._rows.evaluate(self.pos)
        self.energy, self.forces = self.sums(result.energies), result.forces

    def kinetic(self) -> np.ndarray:
        """(n,) eV."""
        return 0.5 * (self.masses * self.vel**2).sum(1)

    def sums(self, of_atoms: np.ndarray) -> np.ndarray:
        """(b,) over the atoms of each molecule."""
        return np.bincount(self.owner, of_atoms, len(self.sizes))

    def step(self, conditions: Conditions, rng: np.random.Generator) -> None:
        """BAOAB (Leimkuhler and Matthews 2013), which is velocity Verlet where there is no friction."""
        dt = conditions.timestep * units.fs
        self.vel += dt / 2 * self.forces / self.masses
        self.pos = self.pos + dt / 2 * self.vel
        if conditions.friction:
            keep = np.exp(-conditions.friction * conditions.timestep / 1000)
            kick = np.sqrt((1 - keep**2) * units.kB * conditions.temperature / self.masses)
            self.vel = keep * self.vel + kick * rng.normal(size=self.vel.shape)
        self.pos = self.pos + dt / 2 * self.vel
        self.compute()
        self.vel += dt / 2 * self.forces / self.masses

    def molecule(self, k: int, pos=None, vel=None) -> Atoms:
        """Number k of those left, where it is or was."""
        mine = self.owner == k
        atoms = Atoms(self.z[mine], (self.pos if pos is None else pos)[mine])
        atoms.set_velocities((self.vel if vel is None else vel)[mine])
        return atoms

    def keep(self, stay: np.ndarray) -> None:
        """Go on with those (b,) alone; energies and forces are computed anew."""
        atoms = stay[self.owner]
        for name in ("z", "masses", "pos", "vel"):
            setattr(self, name, getattr(self, name)[atoms])
        self.left = [number for number, stays in zip(self.left, stay, strict=True) if stays]
        self._set_sizes([size for size, stays in zip(self.sizes, stay, strict=True) if stays])
