"""Sums of errors, from which means are taken once: those of batches, shards, ranks and files add up exactly."""

import numpy as np

from equitensor.graph import Structure
from equitensor.graph.labels import Label, labels
from equitensor.training.compared import compared, factor
from equitensor.training.scores import SCORES


def quantities(of: tuple[Label, ...] | None = None) -> tuple[str, ...]:
    """The names of all that errors are counted in, of all labels or of some."""
    return tuple(quantity.name for label in (labels() if of is None else of) for quantity in label.quantities)


class ErrorSums:
    """Sum of |error|, sum of error^2 and number of errors for each quantity, sum and number for each score; float64."""

    def __init__(self) -> None:
        self.sums: dict[str, np.ndarray] = {}

    def add(self, by_quantity: dict) -> None:
        """Errors by quantity, arrays of numpy or torch of any shape, and rows by score; other entries do not count."""
        for name in quantities():
            errors = by_quantity.get(name)
            if errors is not None and len(errors):
                self._add(name, _three(errors))
        for score in SCORES:
            rows = by_quantity.get(score.name)
            if rows is not None and len(rows):
                self._add(score.name, np.array([rows.sum(), len(rows)]))

    def merge(self, other: "ErrorSums") -> None:
        """Those of another part of the data."""
        for name, sums in other.sums.items():
            self._add(name, sums)

    def _add(self, name: str, sums: np.ndarray) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + sums

    def values(self, names: tuple[str, ...] | None = None) -> dict[str, float | None]:
        """<quantity>_mae and <quantity>_rmse, and scores under their names; None where there was nothing to count."""
        means = {}
        for name in quantities() if names is None else [name for name in names if name in quantities()]:
            absolute, square, count = self.sums.get(name, (None, None, 1))
            means[f"{name}_mae"] = None if absolute is None else float(absolute / count)
            means[f"{name}_rmse"] = None if square is None else float(np.sqrt(square / count))
        for score in SCORES:
            if names is None or score.name in names:
                total, count = self.sums.get(score.name, (None, 1))
                means[score.name] = None if total is None else float(total / count)
        return means


def _three(errors) -> np.ndarray:
    errors = errors if isinstance(errors, np.ndarray) else errors.detach().cpu().numpy()
    errors = errors.astype(np.float64, copy=False)
    return np.array([np.abs(errors).sum(), np.square(errors).sum(), errors.size])


def errors_of(label: Structure, prediction: Structure) -> dict[str, np.ndarray]:
    """quantity -> prediction less label, (rows, ...), of all labels of a structure that count and are predicted."""
    errors = {}
    for each in labels():
        pair = compared(each, label, prediction)
        if pair is not None:
            error = pair[0] - pair[1]
            errors |= {quantity.name: factor(quantity, label) * error for quantity in each.quantities}
    return errors


def from_e0s(structure: Structure, e0s: dict[int, float]) -> Structure:
    """What is known without a model: energies that are sums of E0s, all else zero."""
    known = {}
    for label in labels():
        zero = np.zeros(label.full_shape(len(structure)))
        known[label.name] = sum(e0s[z] for z in structure.z.tolist()) if label.from_e0s else zero
    return structure.replace(**known)
