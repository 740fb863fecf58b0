"""How near to each other atoms of two elements come in training data: where a model's repulsion begins."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from ase.data import covalent_radii

from equitensor.data import Snapshots
from equitensor.data.sequence import evenly_spaced
from equitensor.graph import Structure, neighbor_list
from equitensor.models import Potential
from equitensor.models.repulsion import UNSEEN

_SAMPLE = 20_000
_BONDED = 1.3  # of the sum of the covalent radii
_SHORTEST = 0.4  # of it: below this only structures that are broken have pairs
_FEW = 2.0  # structures with a pair that are believed by half


def closest(snapshots: Snapshots, indices: np.ndarray, elements: Sequence[int]) -> torch.Tensor:
    """(E, E) distances in Angstrom below which pairs of these elements are to repel each other; float64.

    For elements of which n structures hold a pair within 1.3 times the sum of their covalent radii: the shortest
    distance of a pair, at most (n + 1.6) / (n + 2) times that sum. 0.8 of it without any; with many, the sum: what is
    longer than that is no bond, and no repulsion begins there. From up to 20 000 structures, evenly spaced.
    """
    radii = np.array([covalent_radii[z] for z in elements])
    sums = radii[:, None] + radii
    shortest, count = np.full_like(sums, np.inf), np.zeros_like(sums)
    for i in evenly_spaced(indices, _SAMPLE):
        structure = snapshots[int(i)]
        species = np.searchsorted(elements, structure.z)
        cutoff = _BONDED * 2 * radii[species].max()
        sender, receiver, distance = _pairs(structure, cutoff)
        pair = species[sender], species[receiver]
        bonded = distance < _BONDED * sums[pair]
        pair, distance = (pair[0][bonded], pair[1][bonded]), distance[bonded]
        np.minimum.at(shortest, pair, distance)
        held = np.zeros(sums.shape, dtype=bool)
        held[pair] = True
        count += held
    most = (count + _FEW * UNSEEN) / (count + _FEW) * sums
    return torch.from_numpy(np.clip(shortest, _SHORTEST * sums, most))


def begin_repulsion(model: Potential, snapshots: Snapshots, indices: np.ndarray, known: Collection[int] = ()) -> None:
    """Let the repulsion of a potential that has one begin where these training data end.

    known: elements among which it stays where it began.
    """
    if model.repulsion is None:
        return
    begins = closest(snapshots, indices, model.elements)
    kept = torch.tensor([z in known for z in model.elements])
    model.repulsion.set_begins(torch.where(kept[:, None] & kept, model.repulsion.begins.double().cpu(), begins))


def _pairs(structure: Structure, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms (e,), (e,) and distance (e,) of all pairs within the cutoff, both ways."""
    (sender, receiver), shift, _ = neighbor_list(structure.pos, structure.cell, structure.pbc, cutoff)
    vectors = structure.pos[receiver] - structure.pos[sender] + shift @ structure.cell
    return sender, receiver, np.linalg.norm(vectors, axis=1)
