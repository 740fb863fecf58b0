"""The Gaunt product as three constant matrices: evaluate on the sphere, multiply, integrate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from equitensor.o3.quadrature import quadrature
from equitensor.o3.signals import signal_columns, signal_terms
from equitensor.o3.spherical_harmonics import spherical_harmonics

if TYPE_CHECKING:
    from e3nn.o3 import Irrep


def gaunt_grid(
    irs1: Sequence[Irrep], irs2: Sequence[Irrep], irs_out: Sequence[Irrep]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A (R, d1), B (R, d2), C (R, d3), float64, with z = C^T [(A x) * (B y)] the Gaunt product.

    x, y, z are the components of the irreps (sequences of e3nn Irrep) one after another, parts of true and
    pseudo signals. On Q points R = Q for true features alone, 2 Q where all three have both kinds.
    """
    spaces = (irs1, irs2, irs_out)
    lmax = [max((ir.l for ir in irs), default=0) for irs in spaces]
    points, weights = quadrature(sum(lmax))
    first, second, out = (spherical_harmonics(l, points) for l in lmax)
    terms = signal_terms(*spaces)
    return (
        stack_rows([signal_columns(irs1, first, term.first) for term in terms], irs1),
        stack_rows([signal_columns(irs2, second, term.second) for term in terms], irs2),
        stack_rows([signal_columns(irs_out, weights[:, None] * out, term.out) for term in terms], irs_out),
    )


def stack_rows(blocks: list[torch.Tensor], irs) -> torch.Tensor:
    """All blocks (rows, d) on top of each other, none of them too."""
    empty = torch.zeros(0, sum(ir.dim for ir in irs), dtype=torch.float64)
    return torch.cat([empty, *blocks])
