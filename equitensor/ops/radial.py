"""Radial functions that vanish at the cutoff."""

import math

import torch
from torch import Tensor


def envelope(x: Tensor, p: int = 6) -> Tensor:
    """u(x) = 1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2) for x < 1, else 0.

    x = d / cutoff. u, u' and u'' vanish at x = 1 (Gasteiger et al. 2020, DimeNet, eq. 8).
    """
    a, b, c = -(p + 1) * (p + 2) / 2, p * (p + 2), -p * (p + 1) / 2
    return (1 + x**p * (a + x * (b + c * x))) * (x < 1)


def bessel(distance: Tensor, cutoff: float, num: int) -> Tensor:
    """b_n(d) = sqrt(2/c) sin(n pi d / c) / d, n = 1..num: spherical Bessel functions of degree 0.

    distance (e,) in Angstrom, not zero -> (e, num).
    """
    n = torch.arange(1, num + 1, dtype=distance.dtype, device=distance.device)
    d = distance.unsqueeze(1)
    return math.sqrt(2 / cutoff) * torch.sin(d * (n * (math.pi / cutoff))) / d
