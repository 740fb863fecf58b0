"""What a model needs to know of its training data before the first step: scale, shift, number of neighbours.

None of these may hang on a few labels: one force of 1e4 eV/Angstrom among ordinary ones, or relaxed structures whose
forces are zero to within the relaxation's threshold.
"""

from dataclasses import dataclass

import numpy as np

from equitensor.data import GraphDataset
from equitensor.data.absurd_labels import LabelSample
from equitensor.data.sequence import evenly_spaced

_NEIGHBOR_SAMPLE = 100
_RELAXED = 0.01  # eV/Angstrom: what relaxations leave; a smaller force does not say how large forces are
_SMALLEST_SCALE = 0.01  # eV


@dataclass(frozen=True)
class Statistics:
    """scale: RMS of a force component (eV/Angstrom), or the spread of the interaction energy per atom where no force
    says it; shift: mean interaction energy per atom (eV); num_neighbors: mean number of neighbours within the cutoff.
    """

    scale: float
    shift: float
    num_neighbors: float


def statistics(dataset: GraphDataset, labels: LabelSample) -> Statistics:
    """Of a training set whose labels are sampled (neighbours: over 100 structures)."""
    scale, shift = _scale_and_shift(labels)
    graphs = [dataset[int(i)] for i in evenly_spaced(np.arange(len(dataset)), _NEIGHBOR_SAMPLE)]
    neighbors = sum(g.num_edges for g in graphs) / max(1, sum(g.num_nodes for g in graphs))
    return Statistics(scale=scale, shift=shift, num_neighbors=max(neighbors, 1.0))


def _scale_and_shift(labels: LabelSample) -> tuple[float, float]:
    """As in Statistics, without what is absurd; forces count from 0.01 eV/Angstrom, which relaxations leave."""
    energies = labels.energies[~labels.absurd_energies(labels.energies)]
    forces = labels.forces[~labels.absurd_forces(labels.forces) & (labels.forces > _RELAXED)]
    shift = float(energies.mean()) if len(energies) else 0.0
    if len(forces):
        return max(float(np.sqrt(np.square(forces).mean() / 3)), _SMALLEST_SCALE), shift
    return (max(float(energies.std()), _SMALLEST_SCALE) if len(energies) > 1 else 1.0), shift
