"""How real spherical harmonics turn: Wigner D matrices of any element of O(3), without Euler angles."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from equitensor.errors import InputError
from equitensor.o3.quadrature import quadrature
from equitensor.o3.spherical_harmonics import spherical_harmonics

if TYPE_CHECKING:
    from e3nn.o3 import Irreps


def random_rotation(generator: torch.Generator | None = None, inversion: bool = False) -> torch.Tensor:
    """A Haar-random rotation (3, 3), float64, times -1 with `inversion`."""
    matrix = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(matrix)
    q = q * torch.sign(torch.diagonal(r))
    q = q * torch.linalg.det(q).round()
    return -q if inversion else q


def wigner_D(l: int, rotation: torch.Tensor, parity: int | None = None) -> torch.Tensor:
    """D (2l+1, 2l+1) with Y_l(R n) = D(R) Y_l(n), float64, for R (3, 3) in O(3).

    D_ab = integral of Y_a(R n) Y_b(n) over the sphere, exact on a quadrature of degree 2l.

    Args:
        parity: of the irrep under inversion, 1 or -1; that of the harmonics, (-1)^l, when left out.
    Raises:
        InputError: when R is not orthogonal.
    """
    rotation = rotation.to(torch.float64)
    if (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max() > 1e-10:
        raise InputError("the rotation is not an orthogonal (3, 3) matrix")
    sign = 1.0 if torch.linalg.det(rotation) > 0 else -1.0
    points, weighted = _nodes_and_harmonics(l)
    turned = spherical_harmonics(l, points @ (sign * rotation).T)[:, l * l :]
    matrix = turned.T @ weighted
    return matrix * (sign if parity == -1 or (parity is None and l % 2 == 1) else 1.0)


def representation(irreps: Irreps, rotation: torch.Tensor) -> torch.Tensor:
    """Block-diagonal matrix of `irreps` (e3nn's, flat mul_ir layout) for an element of O(3), float64."""
    blocks = [wigner_D(ir.l, rotation, ir.p) for mul, ir in irreps for _ in range(mul)]
    return torch.block_diag(*blocks) if blocks else torch.zeros(0, 0, dtype=torch.float64)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept must serve training too
def _nodes_and_harmonics(l: int) -> tuple[torch.Tensor, torch.Tensor]:
    points, weights = quadrature(2 * l)
    return points, weights[:, None] * spherical_harmonics(l, points)[:, l * l :]
