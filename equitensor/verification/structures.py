"""Structures of a model's elements for a check without any of the user's: a cluster and a crystal.

Distances follow covalent radii: bonds as long as the sum of two radii, nothing nearer, so that a model is asked about
what it may have seen. The crystal is one of small molecules, in a cell that is shorter than usual cutoffs.
"""

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

ELEMENTS, CLUSTER, CRYSTAL = 6, 8, 4  # elements at most; atoms
NEAREST = 1.25  # of the sum of radii, between atoms that are not bonded in a cluster
GAP = 1.7  # Angstrom between a molecule of the crystal and its images, beyond the largest radius


def made(elements: list[str]) -> dict[str, Atoms]:
    """Name -> structure: a cluster of 8 atoms and a skewed crystal of 4, of up to 6 of the elements."""
    chosen = _chosen(elements)
    return {"made cluster": _cluster(chosen, CLUSTER), "made crystal": _crystal(chosen)}


def _chosen(elements: list[str]) -> list[str]:
    """Up to six, evenly over the list in order of atomic number."""
    ordered = sorted(elements, key=lambda symbol: atomic_numbers[symbol])
    places = np.linspace(0, len(ordered) - 1, min(ELEMENTS, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def _cluster(elements: list[str], count: int) -> Atoms:
    """Each atom bonded to one before it, in the direction in which the others are farthest."""
    random = np.random.default_rng(0)
    heavy_first = [elements[::-1][k % len(elements)] for k in range(count)]
    radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in heavy_first])
    positions = np.zeros((1, 3))
    for k in range(1, count):
        directions = random.standard_normal((200, 3))
        directions /= np.linalg.norm(directions, axis=1)[:, None]
        hosts = random.integers(0, min(k, 3), 200)
        trials = positions[hosts] + directions * (radii[hosts] + radii[k])[:, None]
        gaps = np.linalg.norm(trials[:, None] - positions, axis=2) / (radii[:k] + radii[k])
        gaps[np.arange(200), hosts] = np.inf
        free = gaps.min(axis=1)
        enough = np.flatnonzero(free >= NEAREST)
        positions = np.vstack([positions, trials[enough[0] if len(enough) else free.argmax()]])
    return Atoms(heavy_first, positions)


def _crystal(elements: list[str]) -> Atoms:
    """A molecule of four atoms in a skewed cell that leaves a gap to its images."""
    atoms = _cluster(elements, CRYSTAL)
    gap = GAP + max(covalent_radii[atoms.numbers])
    skew = np.array([[1.0, 0.1, 0.0], [0.0, 1.0, 0.15], [-0.1, 0.0, 1.0]])
    return Atoms(atoms.numbers, atoms.positions, cell=np.diag(np.ptp(atoms.positions, axis=0) + gap) @ skew, pbc=True)
