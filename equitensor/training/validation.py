"""Errors on the validation set: sums and counts over its batches, from which means are taken once."""

from torch import Tensor

from equitensor.training.evaluation import QUANTITIES
from equitensor.training.loss import square_sums


class ValidationErrors:
    """MAE and RMSE of what is labelled, and the loss with these weights and Huber limit, as training counts it.

    The loss picks the best model: a label that is absurd must not rule there either.
    """

    def __init__(self, weights: dict[str, float], huber: float) -> None:
        self.weights, self.huber = weights, huber
        self.sums: dict[str, list[float]] = {}  # quantity -> sum of |error|, sum of error^2, number
        self.terms: dict[str, list[float]] = {}  # term of the loss -> sum of weighted squares, number

    def add(self, found: dict[str, Tensor]) -> None:
        """The residuals of a batch."""
        for name in QUANTITIES:
            if found[name].numel():
                error = found[name].double()
                _add(self.sums, name, float(error.abs().sum()), float(error.square().sum()), error.numel())
        for name, (square, count) in square_sums(found, self.huber).items():
            _add(self.terms, name, float(square), count)

    def values(self) -> dict[str, float]:
        """`<quantity>_mae`, `<quantity>_rmse` of the quantities that had labels, and `loss`."""
        errors = {}
        for name, (absolute, square, count) in self.sums.items():
            errors[f"{name}_mae"] = absolute / count
            errors[f"{name}_rmse"] = (square / count) ** 0.5
        errors["loss"] = sum(self.weights[name] * square / count for name, (square, count) in self.terms.items())
        return errors


def _add(sums, name, *values):
    sums[name] = [a + b for a, b in zip(sums.get(name, [0.0] * len(values)), values, strict=True)]
