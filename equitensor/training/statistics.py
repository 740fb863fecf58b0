"""What a model needs to know of its training data before the first step: scale, shift, number of neighbours."""

from dataclasses import dataclass

import numpy as np

from equitensor.data import GraphDataset

_SAMPLE = 2000
_NEIGHBOR_SAMPLE = 100


@dataclass(frozen=True)
class Statistics:
    """scale: RMS of a force component (eV/Angstrom), or the spread of the interaction energy per atom without forces;
    shift: mean interaction energy per atom (eV); num_neighbors: mean number of neighbours within the cutoff."""

    scale: float
    shift: float
    num_neighbors: float


def statistics(dataset: GraphDataset, e0s: dict[int, float]) -> Statistics:
    """Over up to 2000 structures, evenly spaced (neighbours: over 100)."""
    structures = [dataset.snapshots[int(i)] for i in _spread(dataset.indices, _SAMPLE)]
    interaction = [(s.energy - sum(e0s[int(z)] for z in s.z)) / len(s) for s in structures if s.energy is not None]
    squares = [_free_forces(s) ** 2 for s in structures if s.forces is not None]
    shift = float(np.mean(interaction)) if interaction else 0.0
    if sum(map(len, squares)):
        scale = float(np.sqrt(np.concatenate(squares).mean()))
    else:
        scale = float(np.std(interaction)) if interaction else 1.0
    graphs = [dataset[int(i)] for i in _spread(np.arange(len(dataset)), _NEIGHBOR_SAMPLE)]
    neighbors = sum(g.num_edges for g in graphs) / max(1, sum(g.num_nodes for g in graphs))
    return Statistics(scale=scale or 1.0, shift=shift, num_neighbors=max(neighbors, 1.0))


def _free_forces(structure) -> np.ndarray:
    forces = structure.forces if structure.fixed is None else structure.forces[~structure.fixed]
    return np.asarray(forces, dtype=np.float64).ravel()


def _spread(values: np.ndarray, most: int) -> np.ndarray:
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).astype(int)]
