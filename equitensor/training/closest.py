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
_NEAR = 4.0  # Angstrom; what is farther apart tells nothing
_SHORTEST = 0.4  # of the sum of the covalent radii: below this only structures that are broken have pairs
_FEW = 2.0  # structures with a pair that are believed by half
_MANY = 1000.0  # structures that are believed by half where they say that a pair comes no nearer
_INSIDE = 0.85  # of the shortest distance of a pair that no bond joins, down to which the backbone is asked


def closest(snapshots: Snapshots, indices: np.ndarray, elements: Sequence[int]) -> torch.Tensor:
    """(E, E) distances in Angstrom below which pairs of these elements are to repel each other; float64.

    The shortest distance in up to 20 000 structures, evenly spaced, but at most (n + 1.6) / (n + 2) times a, n being
    the structures that hold such a pair within 4 Angstrom or a bond. a is the sum s of the covalent radii, since what
    is longer than that is no bond; where the shortest distance d is much longer in many structures, the two are never
    bonded, and a goes from s to 0.85 d as n / (n + 1000).
    """
    return torch.from_numpy(_begins(_sums(elements), *_shortest(snapshots, indices, elements)))


def _begins(sums: np.ndarray, shortest: np.ndarray, count: np.ndarray) -> np.ndarray:
    apart = np.maximum(_INSIDE * np.where(np.isfinite(shortest), shortest, 0.0) - sums, 0.0)
    most = (count + _FEW * UNSEEN) / (count + _FEW) * (sums + count / (count + _MANY) * apart)
    return np.clip(shortest, _SHORTEST * sums, most)


def begin_repulsion(model: Potential, snapshots: Snapshots, indices: np.ndarray, known: Collection[int] = ()) -> None:
    """Let the repulsion of a potential that has one begin where these training data end.

    known: elements among which it stays where it began, or where these data come nearer begins there.
    """
    if model.repulsion is None:
        return
    sums, (shortest, count) = _sums(model.elements), _shortest(snapshots, indices, model.elements)
    kept = np.isin(model.elements, list(known))
    before = np.minimum(model.repulsion.begins.double().cpu().numpy(), np.maximum(shortest, _SHORTEST * sums))
    begins = np.where(kept[:, None] & kept, before, _begins(sums, shortest, count))
    model.repulsion.set_begins(torch.from_numpy(begins))


def _sums(elements: Sequence[int]) -> np.ndarray:
    """(E, E) sums of covalent radii, Angstrom."""
    radii = np.array([covalent_radii[z] for z in elements])
    return radii[:, None] + radii


def _shortest(snapshots: Snapshots, indices: np.ndarray, elements: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """(E, E) shortest distances in Angstrom, infinite without a pair, and how many structures hold a pair."""
    sums = _sums(elements)
    reach, own = np.maximum(_BONDED * sums, _NEAR), np.diag(sums)
    shortest, count = np.full_like(sums, np.inf), np.zeros_like(sums)
    for i in evenly_spaced(indices, _SAMPLE):
        structure = snapshots[int(i)]
        species = np.searchsorted(elements, structure.z)
        sender, receiver, distance = _pairs(structure, max(_BONDED * own[species].max(), _NEAR))
        pair = species[sender], species[receiver]
        near = distance < reach[pair]
        pair, distance = (pair[0][near], pair[1][near]), distance[near]
        np.minimum.at(shortest, pair, distance)
        held = np.zeros(sums.shape, dtype=bool)
        held[pair] = True
        count += held
    return shortest, count


def _pairs(structure: Structure, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms (e,), (e,) and distance (e,) of all pairs within the cutoff, both ways."""
    (sender, receiver), shift, _ = neighbor_list(structure.pos, structure.cell, structure.pbc, cutoff)
    vectors = structure.pos[receiver] - structure.pos[sender] + shift @ structure.cell
    return sender, receiver, np.linalg.norm(vectors, axis=1)
