"""Healthy potentials for copper, small enough to know by heart, that tests break."""

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.geometry import minkowski_reduce

SIGMA, EPSILON, REACH = 2.3, 0.4, 5.0


class Smooth(LennardJones):
    """A Lennard-Jones potential with a smooth cutoff of 5 Angstrom, for copper."""

    def __init__(self, **options):
        super().__init__(**{"sigma": SIGMA, "epsilon": EPSILON, "rc": REACH, "smooth": True} | options)


class Images(Calculator):
    """exp(-(r/s)^2) between atoms and their images, which are looked for in few cells only, as it is told to.

    reduce: the cell is made as little skewed as can be; wrap: atoms are put into the cell first; shells: images to each
    side; nearest: only the nearest image of each pair; skip: a cell whose images are not looked for.
    """

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, reduce=True, wrap=True, shells=5, nearest=False, skip=None):
        super().__init__()
        self.reduce, self.wrap, self.shells, self.nearest, self.skip = reduce, wrap, shells, nearest, skip

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms.copy()
        if self.reduce and atoms.pbc.all():
            atoms.set_cell(minkowski_reduce(atoms.cell)[0])
        if self.wrap:
            atoms.wrap()
        steps = [np.arange(-self.shells, self.shells + 1) if periodic else [0] for periodic in atoms.pbc]
        cells = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
        if self.skip is not None:
            cells = cells[(cells != self.skip).any(axis=1)]
        vectors = atoms.positions[:, None, None] - atoms.positions[None, :, None] + cells @ atoms.cell.array
        terms = np.exp(-((vectors / 1.4) ** 2).sum(-1))
        here = (cells == 0).all(axis=1).argmax()
        terms[np.arange(len(atoms)), np.arange(len(atoms)), here] = 0
        if self.nearest:
            terms *= terms == terms.max(axis=2, keepdims=True)
        energy = terms.sum() / 2
        forces = 2 * (terms[..., None] * vectors).sum((1, 2)) / 1.4**2
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
