"""Distances expanded in spherical Bessel functions, and their smooth end at the cutoff."""

import torch
from torch import Tensor, nn

from equitensor.ops.radial import bessel, envelope


class RadialBasis(nn.Module):
    """b_n(d) and u(d/c) b_n(d), n = 1..num, for distances (e,) in Angstrom: two arrays (e, num).

    The first is for what an envelope multiplies later; the second, C2 at the cutoff and zero beyond, weighs sums
    over neighbours.
    """

    def __init__(self, cutoff: float, num: int = 8) -> None:
        super().__init__()
        self.cutoff, self.num = cutoff, num

    def forward(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        functions = bessel(distance, self.cutoff, self.num)
        return functions, functions * envelope(distance / self.cutoff).unsqueeze(1)

    def extra_repr(self) -> str:
        return f"cutoff={self.cutoff}, num={self.num}"


def smoothness_prior(num: int, smoothness: float) -> Tensor:
    """(num, 1) weights n^-smoothness of the functions b_n, with mean square 1.

    Steps of an optimiser are about the same for every weight, so functions that vary fast with distance are learned
    last. At distances that no training structure has, a slowly varying function is the better guess.
    """
    prior = torch.arange(1, num + 1, dtype=torch.float64).pow(-smoothness)
    prior = (prior / prior.square().mean().sqrt()).float()  # the same values for a model in either precision
    return prior.to(torch.get_default_dtype()).unsqueeze(1)
