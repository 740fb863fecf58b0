"""Healthy potentials for copper, small enough to know by heart, and ways to break them."""

import copy

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.geometry import minkowski_reduce

from equitensor.verification import verify

SIGMA, EPSILON, REACH = 2.3, 0.4, 5.0
LONG = 1e9  # seconds: all that a check can do is done, on any machine


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


class Broken(Smooth):
    """Results changed by `change(results, atoms)` after each calculation."""

    def __init__(self, change, **options):
        super().__init__(**options)
        self.change = change

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = copy.deepcopy(self.results)
        self.change(self.results, self.atoms)
        self.results["free_energy"] = self.results["energy"]


def failed(calculator, atoms, check, **options):
    finding = verify(calculator, atoms, checks=[check], seconds=LONG, **options)[check]
    assert finding.verdict in ("passed", "failed"), finding.reason
    return finding.verdict == "failed"


def in_single_precision(results, atoms):
    """Noise of 3e-6 of each number, the same for the same positions."""
    seed = np.frombuffer(atoms.positions.tobytes(), dtype=np.uint32)
    random = np.random.default_rng(seed)
    for name in ("energies", "forces", "stress"):
        if name in results:
            results[name] *= 1 + 1e-6 * random.standard_normal(results[name].shape)
    results["energy"] = results["energies"].sum()


class Cut(Images):
    """A Gaussian times a cutoff function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        i, j = np.triu_indices(len(atoms), 1)
        vectors = atoms.positions[j] - atoms.positions[i]
        r = np.linalg.norm(vectors, axis=1)
        value, derivative = (np.where(r < 4.0, part, 0.0) for part in self.function(r / 4.0))
        pull = (derivative / 4.0 / r)[:, None] * vectors
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, pull)
        np.add.at(forces, j, -pull)
        self.results = {"energy": value.sum(), "free_energy": value.sum(), "forces": forces}
