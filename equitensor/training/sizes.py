"""How many edges the structures of a data set have: counted where that is cheap, else estimated from a sample."""

import numpy as np

from equitensor.data import GraphDataset
from equitensor.data.sequence import evenly_spaced
from equitensor.training.batches import size

_SAMPLE = 500  # structures
_CLASSES = 32  # of numbers of atoms


def sizes(dataset: GraphDataset) -> np.ndarray:
    """(n,) int64 edges within the dataset's cutoff, at least one an atom.

    Exact for a data set that keeps its graphs in memory, whose neighbour lists are needed there anyway. Of others 500
    structures, evenly spaced, give the neighbours an atom has in structures of about as many atoms, so that a store of
    millions is not read twice; what turns out larger when it is read is computed in parts.
    """
    if dataset.keeps_graphs:
        return np.array([size(dataset[i]) for i in range(len(dataset))], np.int64)
    atoms = dataset.num_atoms.astype(np.float64)
    chosen = evenly_spaced(np.arange(len(dataset)), _SAMPLE)
    counts = np.array([size(dataset[int(i)]) for i in chosen], np.float64)
    bounds = np.unique(np.quantile(atoms[chosen], np.linspace(0, 1, _CLASSES + 1)))[1:-1]
    of_chosen = np.searchsorted(bounds, atoms[chosen], side="right")
    edges, nodes = (np.bincount(of_chosen, weights, len(bounds) + 1) for weights in (counts, atoms[chosen]))
    neighbors = edges / np.maximum(nodes, 1.0)
    estimate = atoms * neighbors[np.searchsorted(bounds, atoms, side="right")]
    return np.maximum(np.ceil(estimate), atoms).astype(np.int64)
