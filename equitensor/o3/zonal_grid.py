"""A Gaunt convolution whose filters are harmonics of one direction, on quadrature points.

sum_m Y_lm(n) Y_lm(u) = (2l+1)/(4 pi) P_l(n . u): at a point n the filter of an edge u is a function of one cosine,
and its derivative along a tangent t, for the Poisson bracket, is P_l'(n . u) (t . u).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from equitensor.o3.poisson import tangential_derivatives, tangents
from equitensor.o3.quadrature import quadrature
from equitensor.o3.signals import signal, signal_columns
from equitensor.o3.spherical_harmonics import normalization_factors, spherical_harmonics


class ZonalGrid(NamedTuple):
    """z = C^T [(A x) * F], rows of F: Q values at `points`, then derivatives at Q' `odd_points` along 2 Q' `tangents`.

    A (S R, d1) and C (S R, d3) hold the R = Q + 2 Q' rows once for each kind of signal, true or pseudo, in x.
    """

    a: torch.Tensor
    c: torch.Tensor
    points: torch.Tensor
    odd_points: torch.Tensor
    tangents: torch.Tensor
    signals: int


def zonal_grid(irs_in, lmax_edge: int, irs_out, even: bool = True, odd: bool = False) -> ZonalGrid:
    """Tables for irreps (sequences of e3nn Irrep) and filters of degree up to lmax_edge, float64.

    Args:
        even, odd: with the paths of the product, with those of the Poisson bracket.
    """
    l_in, l_out = (max(ir.l for ir in irs) for irs in (irs_in, irs_out))
    degree = l_in + lmax_edge + l_out
    nothing = (torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
    points, weights = quadrature(degree) if even else nothing
    odd_points, odd_weights = quadrature(degree - 1) if odd else nothing
    e1, e2 = tangents(odd_points) if odd else (odd_points, odd_points)
    d1, d2 = tangential_derivatives(l_in, odd_points)
    values = spherical_harmonics(l_in, points)
    out = weights[:, None] * spherical_harmonics(l_out, points)
    odd_out = odd_weights[:, None] * spherical_harmonics(l_out, odd_points)
    rows, columns = [], []
    kinds = [s for s in (1, -1) if s in {signal(ir) for ir in irs_in}]
    for s in kinds:
        same, other = ((1.0, 0.0), (0.0, 1.0))[::s]
        rows += [signal_columns(irs_in, block, same) for block in (values, d1, d2)]
        columns += [signal_columns(irs_out, out, same)]
        columns += [signal_columns(irs_out, sign * odd_out, other) for sign in (1, -1)]
    return ZonalGrid(torch.cat(rows), torch.cat(columns), points, odd_points, torch.cat([e2, e1]), len(kinds))


def zonal_factors(lmax: int, normalization: str) -> list[float]:
    """Factors s_l with sum_m Y_lm(n) Y'_lm(u) = s_l P_l(n . u), Y in 'integral' and Y' in another normalisation."""
    factors = normalization_factors(lmax, normalization)
    return [(2 * l + 1) / (4 * math.pi) * factor for l, factor in enumerate(factors)]
