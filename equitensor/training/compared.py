"""What of a label is compared with its prediction: rows that are known, and not on atoms that are held in place."""

from collections.abc import Mapping

import numpy as np

from equitensor.graph import Structure
from equitensor.graph.labels import Label, Quantity


def compared(of: Label, label: Structure, prediction: Structure) -> tuple[np.ndarray, np.ndarray] | None:
    """Prediction and label, (rows, ...) of what counts; None without a label or a prediction, or where neither has a
    meaning."""
    value, predicted = getattr(label, of.name), getattr(prediction, of.name)
    if value is None or predicted is None or (of.periodic and not label.pbc.all()):
        return None
    value = np.asarray(value, np.float64).reshape(-1, *of.shape)
    known = counted(of, label, value)
    return np.asarray(predicted, np.float64).reshape(value.shape)[known], value[known]


def shown(
    of: Label, label: Structure, prediction: Structure, e0s: Mapping[int, float] | None = None
) -> tuple[np.ndarray, np.ndarray] | None:
    """The same in the quantity that pictures show; energies less these E0s, which would hide all else."""
    pair = compared(of, label, prediction)
    if pair is None:
        return None
    atoms = sum(e0s[z] for z in label.z.tolist()) if e0s and of.from_e0s else 0.0
    predicted, value = (factor(of.shown, label) * (side - atoms) for side in pair)
    return predicted, value


def title(of: Label, e0s: Mapping[int, float] | None) -> str:
    """What `shown` gives."""
    return of.shown.title + " less E0s" * bool(e0s and of.from_e0s)


def factor(quantity: Quantity, structure: Structure) -> float:
    """What turns a label of this structure into the quantity."""
    return 1.0 if quantity.factor is None else quantity.factor(len(structure), abs(np.linalg.det(structure.cell)))


def counted(label: Label, structure: Structure, value: np.ndarray) -> np.ndarray:
    """(rows,) bool: the atoms, or the structure itself, whose label counts."""
    known = ~np.isnan(value).reshape(len(value), -1).any(axis=1)
    if label.moving_only and structure.fixed is not None:
        known &= ~structure.fixed
    return known
