"""Errors on the validation set: sums and counts over its batches, from which means are taken once."""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from equitensor.data import GraphDataset
from equitensor.graph import AtomicGraph
from equitensor.graph.labels import labels
from equitensor.training.errors import ErrorSums, quantities
from equitensor.training.loss import square_sums
from equitensor.training.ranks import Ranks

_Item = TypeVar("_Item")


class ValidationErrors:
    """MAE and RMSE of what is labelled, and the loss with these weights and limits, as training counts it.

    The loss picks the best model: a label that is absurd must not rule there either.
    """

    def __init__(self, weights: dict[str, float], limits: dict[str, float] | None) -> None:
        self.weights, self.limits = weights, limits
        self.errors = ErrorSums()
        self.terms: dict[str, tuple[float, int]] = {}  # term of the loss -> sum of weighted squares, number

    def add(self, errors: dict[str, Tensor]) -> None:
        """The residuals of a batch."""
        self.errors.add(errors)
        for name, (square, count) in square_sums(errors, self.limits).items():
            squares, number = self.terms.get(name, (0.0, 0))
            self.terms[name] = squares + float(square), number + count

    def joined(self, ranks: Ranks) -> "ValidationErrors":
        """Those of all ranks together."""
        all_of_them = ValidationErrors(self.weights, self.limits)
        counted = ranks.sum([float(x) for name in quantities() for x in self.errors.sums.get(name, (0.0, 0.0, 0.0))])
        for k, name in enumerate(quantities()):
            if counted[3 * k + 2]:
                all_of_them.errors.sums[name] = np.array(counted[3 * k : 3 * k + 3])
        terms = ranks.sum([float(x) for label in labels() for x in self.terms.get(label.name, (0.0, 0))])
        for k, label in enumerate(labels()):
            if terms[2 * k + 1]:
                all_of_them.terms[label.name] = (terms[2 * k], int(terms[2 * k + 1]))
        return all_of_them

    def values(self) -> dict[str, float]:
        """`<quantity>_mae`, `<quantity>_rmse` of the quantities that had labels, and `loss`."""
        errors = {name: value for name, value in self.errors.values().items() if value is not None}
        errors["loss"] = sum(self.weights[name] * square / count for name, (square, count) in self.terms.items())
        return errors


def own_graphs(data: GraphDataset, ranks: Ranks, workers: int) -> Iterable[AtomicGraph]:
    """Those of this rank, read by so many processes at most."""
    own = Subset(data, range(ranks.rank, len(data), ranks.count))
    workers = 0 if data.keeps_graphs else min(workers, len(own))
    return DataLoader(own, batch_size=None, num_workers=workers, collate_fn=_alone)


def _alone(item: _Item) -> _Item:
    """A loader's item as it is."""
    return item
