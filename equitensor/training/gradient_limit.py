"""No gradient may be much longer than those before it."""

import math

import torch
from torch import Tensor

_MOST = 10.0  # times the average
_STEPS = 100  # that the average is of


class GradientLimit:
    """Shortens a gradient that is more than ten times as long as the average of the last hundred steps, to that length.

    A structure far from all others can have one that is a million times as long. Moments of Adam and SOAP are averages
    of squares, which it rules for hundreds of steps, in which nothing else is learned.
    """

    def __init__(self) -> None:
        self.average, self.steps = 0.0, 0

    def apply(self, gradients: list[Tensor]) -> bool:
        """Shorten these in place, all parts of one; whether they are finite, as they are not touched otherwise."""
        if not gradients:  # as of atoms without neighbours
            return True
        norm = float(torch.stack(torch._foreach_norm(gradients)).norm())
        if not math.isfinite(norm):
            return False
        if self.steps and norm > (most := _MOST * self.average) > 0.0:
            torch._foreach_mul_(gradients, most / norm)
            norm = most
        self.steps = min(self.steps + 1, _STEPS)
        self.average += (norm - self.average) / self.steps
        return True

    def state(self) -> dict:
        return {"average": self.average, "steps": self.steps}

    def restore(self, state: dict) -> None:
        self.average, self.steps = state["average"], state["steps"]
