"""Spherical Poisson bracket {f, g} = n . (grad f x grad g): the couplings with odd l1 + l2 + l3.

n is the unit normal. With tangents e1 x e2 = n, {f, g} = (e1.grad f)(e2.grad g) - (e2.grad f)(e1.grad g), two
products on the points of a quadrature; all rules of degree l1 + l2 + l3 - 1 give the same values, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from equitensor.o3.gaunt_grid import stack_rows
from equitensor.o3.quadrature import quadrature
from equitensor.o3.signals import signal_columns, signal_terms
from equitensor.o3.spherical_harmonics import spherical_harmonics
from equitensor.o3.wigner import triangle, wigner_3j, wigner_3j_symbol

if TYPE_CHECKING:
    from e3nn.o3 import Irrep


def poisson(l1: int, l2: int, l3: int) -> torch.Tensor:
    """B = sphere integral of Y_l3 {Y_l1, Y_l2}, 'integral' normalisation, float64 (2l1+1, 2l2+1, 2l3+1).

    Zero where l1 + l2 + l3 is even.

    Raises:
        InputError: unless |l1 - l2| <= l3 <= l1 + l2.
    """
    return poisson_coefficient(l1, l2, l3) * wigner_3j(l1, l2, l3)


def poisson_coefficient(l1: int, l2: int, l3: int) -> float:
    """Factor between the bracket's tensor and the Wigner 3j tensor; 0 where the degrees do not couple.

    sqrt(l1 (l1+1) l2 (l2+1)) sqrt((2l1+1)(2l2+1)(2l3+1) / 4 pi) |(l1 l2 l3; 1 -1 0)| for odd l1 + l2 + l3.
    """
    if (l1 + l2 + l3) % 2 == 0 or not triangle(l1, l2, l3):
        return 0.0
    size = l1 * (l1 + 1) * l2 * (l2 + 1) * (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)
    return math.sqrt(size / (4 * math.pi)) * abs(wigner_3j_symbol(l1, l2, l3, 1, -1, 0))


def poisson_grid(
    irs1: Sequence[Irrep], irs2: Sequence[Irrep], irs_out: Sequence[Irrep]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A (R, d1), B (R, d2), C (R, d3), float64, with z = C^T [(A x) * (B y)] the Poisson bracket of signals.

    x, y, z as in `gaunt_grid`; the bracket of two true signals is a pseudo signal. On Q points (6, 12, 32 for
    all degrees up to 1, 2, 3) R = 2 Q per pair of signals that occurs, 4 Q where all three have both kinds.
    """
    spaces = (irs1, irs2, irs_out)
    lmax = [max((ir.l for ir in irs), default=0) for irs in spaces]
    points, weights = quadrature(max(0, sum(lmax) - 1))
    first, second = (tangential_derivatives(l, points) for l in lmax[:2])
    out = weights[:, None] * spherical_harmonics(lmax[2], points)
    rows: tuple[list, list, list] = ([], [], [])
    for term in signal_terms(*spaces, bracket=True):
        for one, other, sign in ((0, 1, 1.0), (1, 0, -1.0)):
            rows[0].append(signal_columns(irs1, first[one], term.first))
            rows[1].append(signal_columns(irs2, second[other], term.second))
            rows[2].append(sign * signal_columns(irs_out, out, term.out))
    a, b, c = (stack_rows(blocks, irs) for blocks, irs in zip(rows, spaces, strict=True))
    return a, b, c


def tangential_derivatives(lmax: int, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(e1 . grad Y, e2 . grad Y) of all degrees up to lmax, 'integral' normalisation, each (Q, (lmax+1)^2).

    With the generators L = n x grad of rotations, e1 . grad = e2 . L and e2 . grad = -e1 . L: no pole.
    """
    e1, e2 = tangents(points)
    turned = torch.einsum("qi,aij->aqj", spherical_harmonics(lmax, points), rotation_generators(lmax))
    return torch.einsum("aqj,qa->qj", turned, e2), -torch.einsum("aqj,qa->qj", turned, e1)


def tangents(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """e1, e2 (Q, 3) with e1 x e2 = n for unit vectors n (Q, 3)."""
    smallest = torch.nn.functional.one_hot(points.abs().argmin(dim=1), 3).to(points.dtype)
    e1 = torch.nn.functional.normalize(torch.linalg.cross(smallest, points), dim=1)
    return e1, torch.linalg.cross(points, e1)


def rotation_generators(lmax: int) -> torch.Tensor:
    """X (3, d, d), float64, with (n x grad)_a Y_j = sum_i Y_i X_a,ij for d = (lmax+1)^2 harmonics.

    On degree l, X_a,ij = -sqrt(l (l+1) (2l+1)) W(l, 1, l)_iaj.
    """
    generators = torch.zeros(3, (lmax + 1) ** 2, (lmax + 1) ** 2, dtype=torch.float64)
    for l in range(1, lmax + 1):
        block = slice(l * l, (l + 1) ** 2)
        scale = math.sqrt(l * (l + 1) * (2 * l + 1))
        generators[:, block, block] = -scale * wigner_3j(l, 1, l).transpose(0, 1)
    return generators
