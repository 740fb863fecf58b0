"""Features as signals on the sphere under inversion: true ones with parity (-1)^l, pseudo ones with -(-1)^l.

A product of two true or of two pseudo signals is true, of one of each pseudo; a Poisson bracket, which contains
the pseudovector of a cross product, gives the opposite. With j^2 = 1 and f = f_true + j f_pseudo both are one
rule, f g and j {f, g}, and in u = f_true + f_pseudo, v = f_true - f_pseudo it falls into two products.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class SignalTerm(NamedTuple):
    """One product on the sphere: factors of the (true, pseudo) parts of both operands and of the output."""

    first: tuple[float, float]
    second: tuple[float, float]
    out: tuple[float, float]


def signal(ir) -> int:
    """1 for an irrep of a true signal, -1 for one of a pseudo signal."""
    return ir.p * (-1) ** ir.l


def signal_terms(irs1, irs2, irs_out, bracket: bool = False) -> list[SignalTerm]:
    """The fewest products that give every output that occurs: one per pair of signals, 2 where all are both.

    Args:
        bracket: the parities of the Poisson bracket instead of those of the product.
    """
    signals = [{signal(ir) for ir in irs} for irs in (irs1, irs2, irs_out)]
    twist = -1 if bracket else 1
    if all(len(signs) == 2 for signs in signals):
        outs = [(0.5 * e, 0.5) if bracket else (0.5, 0.5 * e) for e in (1, -1)]
        return [SignalTerm((1.0, e), (1.0, e), out) for e, out in zip((1.0, -1.0), outs, strict=True)]
    pairs = [(s, t) for s in (1, -1) for t in (1, -1) if s in signals[0] and t in signals[1]]
    return [SignalTerm(*map(_only, (s, t, twist * s * t))) for s, t in pairs if twist * s * t in signals[2]]


def signal_columns(irs, harmonics: torch.Tensor, factors: tuple[float, float]) -> torch.Tensor:
    """Columns of (rows, (lmax+1)^2) for the components of `irs`, each times the factor of its signal."""
    factor = {1: factors[0], -1: factors[1]}
    return torch.cat([factor[signal(ir)] * harmonics[:, ir.l**2 : (ir.l + 1) ** 2] for ir in irs], dim=1)


def _only(sign: int) -> tuple[float, float]:
    return (1.0, 0.0) if sign == 1 else (0.0, 1.0)
