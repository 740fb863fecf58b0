"""Legendre polynomials and their derivatives by recursion."""

from __future__ import annotations

import torch
from torch import Tensor


def legendre(cosine: Tensor, factors: list[float]) -> Tensor:
    """s_l P_l(cosine) for l = 0 .. len(factors) - 1, cosine (e, Q): (e, degrees, Q)."""
    return torch.stack(_polynomials(cosine, factors), dim=1)


def legendre_derivatives(cosine: Tensor, factors: list[float]) -> Tensor:
    """s_l P_l'(cosine), as `legendre`: P_l' = P_(l-2)' + (2l - 1) P_(l-1)."""
    unit = _polynomials(cosine, [1.0] * len(factors))
    derivatives = [torch.zeros_like(cosine)]
    for l in range(1, len(factors)):
        derivative = (2 * l - 1) * unit[l - 1]
        derivatives.append(derivative if l == 1 else derivative + derivatives[l - 2])
    return torch.stack([s * derivative for s, derivative in zip(factors, derivatives, strict=True)], dim=1)


def _polynomials(cosine: Tensor, factors: list[float]) -> list[Tensor]:
    """l P_l = (2l - 1) c P_(l-1) - (l - 1) P_(l-2), each with its factor inside."""
    terms = [torch.full_like(cosine, factors[0])]
    for l in range(1, len(factors)):
        term = (2 * l - 1) / l * factors[l] / factors[l - 1] * (cosine * terms[-1])
        terms.append(term if l == 1 else term - (l - 1) / l * factors[l] / factors[l - 2] * terms[-2])
    return terms
