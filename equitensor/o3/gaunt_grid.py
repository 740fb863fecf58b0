"""The Gaunt product as three constant matrices: evaluate on the sphere, multiply, integrate."""

from __future__ import annotations

import torch

from equitensor.o3.quadrature import quadrature
from equitensor.o3.spherical_harmonics import spherical_harmonics


def gaunt_grid(irs1, irs2, irs_out) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A (R, d1), B (R, d2), C (R, d3), float64, with z = C^T [(A x) * (B y)] the Gaunt product.

    x, y, z are the components of the irreps (sequences of e3nn Irrep) one after another. A feature is a true
    signal (parity (-1)^l) or a pseudo signal (parity -(-1)^l); each pair of signals that occurs and has an
    output takes its own Q rows: Q for true features alone, R = 4 Q where all have both kinds.
    """
    degree = sum(max((ir.l for ir in irs), default=0) for irs in (irs1, irs2, irs_out))
    points, weights = quadrature(degree)
    signs1, signs2, signs_out = ([_signal(ir) for ir in irs] for irs in (irs1, irs2, irs_out))
    pairs = [(s, t) for s in (1, -1) for t in (1, -1) if s in signs1 and t in signs2 and s * t in signs_out]
    first = [_evaluate(irs1, s, points) for s, _ in pairs]
    second = [_evaluate(irs2, t, points) for _, t in pairs]
    out = [weights[:, None] * _evaluate(irs_out, s * t, points) for s, t in pairs]
    return torch.cat(first), torch.cat(second), torch.cat(out)


def _signal(ir) -> int:
    return ir.p * (-1) ** ir.l


def _evaluate(irs, signal: int, points: torch.Tensor) -> torch.Tensor:
    """Harmonics (Q, d) of those irreps that belong to the signal, zero columns for the others."""
    harmonics = spherical_harmonics(max(ir.l for ir in irs), points)
    blocks = [harmonics[:, ir.l**2 : (ir.l + 1) ** 2] * (_signal(ir) == signal) for ir in irs]
    return torch.cat(blocks, dim=1)
