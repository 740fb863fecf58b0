"""Real spherical harmonics as homogeneous polynomials: the float64 constants, and a plain evaluation.

With the polar axis y and (a, b) = (z, x) the two other axes, r^l Y_lm(r) is a product of

- q_l|m|(y, r^2): q_mm = const, then q_lm = alpha_lm y q_(l-1)m - beta_lm r^2 q_(l-2)m, and
- Re (a + ib)^m for m >= 0, Im (a + ib)^|m| for m < 0.

There is no angle, no division, no square root of a coordinate: poles and the origin are ordinary points.
Order and sign are those of e3nn: l = 1 is (x, y, z) for m = (-1, 0, 1), without the Condon-Shortley phase.
"""

from __future__ import annotations

import math
from functools import cache

import torch

from equitensor.errors import InputError
from equitensor.o3.wigner import wigner_3j

NORMALIZATIONS = ("component", "integral", "norm")


def normalization_factors(lmax: int, normalization: str) -> list[float]:
    """Factor per degree from 'integral' (sphere integral of Y^2 is 1) to another normalisation.

    'component': the squares of one degree sum to 2l+1; 'norm': to 1; both on the unit sphere.
    """
    if normalization == "integral":
        return [1.0] * (lmax + 1)
    if normalization == "component":
        return [math.sqrt(4 * math.pi)] * (lmax + 1)
    if normalization == "norm":
        return [math.sqrt(4 * math.pi / (2 * l + 1)) for l in range(lmax + 1)]
    raise InputError(f"normalization is {normalization!r}: choose one of {', '.join(NORMALIZATIONS)}")


@cache
def recurrence(lmax: int) -> tuple[tuple[float, ...], dict, dict]:
    """Constants of the recursion in 'integral' normalisation: diagonal q_mm, alpha[l, m], beta[l, m].

    With N_lm^2 = (2 - delta_m0) (2l+1)/(4 pi) (l-m)!/(l+m)!, all of order one at every degree.
    """
    diagonal = [math.sqrt(1 / (4 * math.pi))]
    for m in range(1, lmax + 1):
        ratio = (2 * m + 1) / (2 * m) * (2 if m == 1 else 1)
        diagonal.append(diagonal[-1] * math.sqrt(ratio))
    alpha, beta = {}, {}
    for m in range(lmax + 1):
        for l in range(m + 1, lmax + 1):
            alpha[l, m] = math.sqrt((4 * l * l - 1) / (l * l - m * m))
            if l > m + 1:
                beta[l, m] = alpha[l, m] / alpha[l - 1, m]
    return tuple(diagonal), alpha, beta


def spherical_harmonics(
    lmax: int, vectors: torch.Tensor, normalization: str = "integral", normalize: bool = False
) -> torch.Tensor:
    """Solid harmonics r^l Y_lm of vectors (..., 3), all degrees 0 to lmax: (..., (lmax+1)^2).

    Args:
        normalize: divide the vectors by their length first (zero vectors stay zero).
    Raises:
        InputError: for an unknown normalization.
    """
    if normalize:
        vectors = torch.nn.functional.normalize(vectors, dim=-1)
    x, y, z = vectors.unbind(-1)
    factors = normalization_factors(lmax, normalization)
    polar = _polar_polynomials(lmax, y, (vectors * vectors).sum(-1))
    cosine, sine = _azimuthal_polynomials(lmax, z, x)
    columns = []
    for l in range(lmax + 1):
        for m in range(-l, l + 1):
            azimuth = sine[-m] if m < 0 else cosine[m]
            columns.append(factors[l] * polar[l, abs(m)] * azimuth)
    return torch.stack(columns, dim=-1)


def raising_tables(lmax: int, normalization: str = "component") -> list[torch.Tensor]:
    """Tables T_l (3 (2l+1), 2l+3), l = 0 .. lmax-1, float64, with Y_(l+1) = (Y_l x r) T_l and Y_0 = 1.

    Rows run over (m of Y_l, axis of r); T_l is the Wigner 3j of (l, 1, l+1), scaled by the value at the pole.

    Raises:
        InputError: for 'integral' normalisation, whose Y_0 is not 1.
    """
    factors = normalization_factors(lmax, normalization)
    if normalization == "integral":
        raise InputError("raising tables start from Y_0 = 1: choose normalization 'component' or 'norm'")
    poles = [factor * math.sqrt((2 * l + 1) / (4 * math.pi)) for l, factor in enumerate(factors)]
    tables = []
    for l in range(lmax):
        coupling = wigner_3j(l, 1, l + 1)
        scale = poles[l + 1] / (poles[l] * float(coupling[l, 1, l + 1]))
        tables.append(scale * coupling.reshape(3 * (2 * l + 1), 2 * l + 3))
    return tables


def _polar_polynomials(lmax: int, y: torch.Tensor, r2: torch.Tensor) -> dict:
    diagonal, alpha, beta = recurrence(lmax)
    q = {}
    for m in range(lmax + 1):
        q[m, m] = torch.full_like(y, diagonal[m])
        for l in range(m + 1, lmax + 1):
            q[l, m] = alpha[l, m] * y * q[l - 1, m]
            if l > m + 1:
                q[l, m] = q[l, m] - beta[l, m] * r2 * q[l - 2, m]
    return q


def _azimuthal_polynomials(lmax: int, a: torch.Tensor, b: torch.Tensor) -> tuple[list, list]:
    cosine, sine = [torch.ones_like(a)], [torch.zeros_like(a)]
    for _ in range(lmax):
        c, s = cosine[-1], sine[-1]
        cosine.append(a * c - b * s)
        sine.append(a * s + b * c)
    return cosine, sine
