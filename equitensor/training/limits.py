"""Where errors begin to count linearly in the loss, so that a few labels far from the others do not rule training."""

import math

import numpy as np

from equitensor.data import GraphDataset
from equitensor.data.sequence import evenly_spaced
from equitensor.graph import Structure
from equitensor.graph.labels import FORCES, Label, labels
from equitensor.training.errors import errors_of, from_e0s

_SAMPLE = 20_000
_FAR = 3.0  # usual sizes
_NOTHING, _SMALLEST_SIZE = 1e-4, 1e-3  # in the unit of the term


def limits(dataset: GraphDataset, e0s: dict[int, float], scale: float) -> dict[str, float]:
    """label -> limit for loss.huber 1: the scale of the model, or three times the usual size of the label's own term.

    From up to 20 000 structures of weight above 0, evenly spaced; infinite where a label counts in full or is missing.
    The scale is an RMS. Where most forces are far smaller, as among relaxed crystals, three times their usual size
    takes its place: else a few structures would rule still.
    """
    own = tuple(
        label
        for label in labels()
        if (label.robust == "own" or label is FORCES) and dataset.snapshots.index.has(label).any()
    )
    norms: dict[str, list] = {label.name: [np.zeros(0)] for label in own}
    for i in evenly_spaced(dataset.indices, _SAMPLE) if own else ():
        structure = dataset.snapshots[int(i)]
        for label in own if structure.weight > 0 else ():
            norms[label.name].append(_norms(label, structure, e0s))
    usual = {label.name: _FAR * usual_size(label, np.concatenate(norms[label.name])) for label in own}
    scale = min(scale, usual.pop(FORCES.name, math.inf))
    return {label.name: scale if label.robust == "scale" else math.inf for label in labels()} | usual


def usual_size(label: Label, norms: np.ndarray) -> float:
    """Of a component, from norms (rows,): the standard deviation of Gaussians with their median; infinite without any.

    What symmetry makes zero does not count.
    """
    norms, k = norms[norms > _NOTHING], math.prod(label.shape)
    if len(norms) == 0:
        return math.inf
    median = k * (1 - 2 / (9 * k)) ** 3  # of chi squared with k degrees of freedom (Wilson and Hilferty)
    return max(float(np.median(norms)) / math.sqrt(median), _SMALLEST_SIZE)


def _norms(label: Label, structure: Structure, e0s: dict[int, float]) -> np.ndarray:
    """(rows,) norms of what the term of a label counts where nothing but the E0s is known."""
    if not label.is_here(structure):
        return np.zeros(0)
    errors = errors_of(structure, from_e0s(structure, e0s)).get(label.term, np.zeros((0, 1)))
    return np.linalg.norm(errors.reshape(len(errors), -1), axis=1)
