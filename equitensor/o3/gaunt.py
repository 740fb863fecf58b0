"""Gaunt tensors: integrals of three real spherical harmonics, in closed form."""

from __future__ import annotations

import math

import torch

from equitensor.o3.wigner import triangle, wigner_3j, wigner_3j_symbol


def gaunt(l1: int, l2: int, l3: int) -> torch.Tensor:
    """G = sphere integral of Y_l1 Y_l2 Y_l3, 'integral' normalisation, float64 (2l1+1, 2l2+1, 2l3+1).

    G = sqrt((2l1+1)(2l2+1)(2l3+1) / 4 pi) |(l1 l2 l3; 0 0 0)| W; zero where l1 + l2 + l3 is odd.

    Raises:
        InputError: unless |l1 - l2| <= l3 <= l1 + l2.
    """
    return gaunt_coefficient(l1, l2, l3) * wigner_3j(l1, l2, l3)


def gaunt_coefficient(l1: int, l2: int, l3: int) -> float:
    """Factor between the Gaunt tensor and the Wigner 3j tensor; 0 where the degrees do not couple."""
    if not triangle(l1, l2, l3):
        return 0.0
    size = (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)
    return math.sqrt(size / (4 * math.pi)) * abs(wigner_3j_symbol(l1, l2, l3, 0, 0, 0))
