"""Quadrature on the sphere: the smallest known node sets up to degree 12, a product rule beyond.

A set exact to degree l1 + l2 + l3 turns the Gaunt product into multiplication on its nodes, exactly and with
exact equivariance, whatever the nodes' orientation.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch

from equitensor.errors import InputError
from equitensor.o3.spherical_harmonics import spherical_harmonics

NODES_FILE = Path(__file__).with_name("quadrature.npz")  # made by equitensor/o3/quadrature_search.py
MOMENT_TOLERANCE = 2e-14


def quadrature(degree: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes (Q, 3) on the unit sphere and weights (Q,) > 0, float64, exact for polynomials up to `degree`.

    The weights sum to 4 pi. Q = 1, 6, 12, 18, 32, 60 up to degree 0, 3, 5, 6, 9, 12; beyond, Gauss-Legendre
    in the polar coordinate times equal steps in the azimuth: (degree // 2 + 1) (degree + 1) nodes.

    Raises:
        InputError: for a negative degree.
    """
    if degree < 0:
        raise InputError(f"quadrature degree is {degree}: give a number >= 0")
    points, weights = _nodes(degree)
    return points.clone(), weights.clone()


def half_quadrature(degree: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Half of an antipodal quadrature, weights doubled: exact for even polynomials up to `degree`.

    3, 6 and 16 nodes up to degree 3, 5 and 9; beyond, half of a product rule.
    """
    rule = next(d for d in (3, 5, 9, degree + 1 - degree % 2) if d >= degree)
    points, weights = quadrature(rule) if rule <= 9 else _product_rule(rule)
    # The first coordinate that is not zero decides; exact zeros are rounding away from it on some nodes.
    signs = torch.where(points.abs() > 1e-12, points.sign(), torch.zeros_like(points))
    upper = signs @ torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64) > 0
    return points[upper], 2 * weights[upper]


def moment_error(points: torch.Tensor, weights: torch.Tensor, degree: int) -> float:
    """Largest error of the integrals of all orthonormal Y_lm with l <= degree; 0 for an exact rule."""
    moments = weights @ spherical_harmonics(degree, points)
    moments[0] -= math.sqrt(4 * math.pi)
    return float(moments.abs().max())


@cache
@torch.inference_mode(False)  # what is kept must serve training too
def _nodes(degree: int) -> tuple[torch.Tensor, torch.Tensor]:
    for limit, build in _SMALL_SETS:
        if degree <= limit:
            return build()
    return _product_rule(degree)


def _centre() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64), _full([4 * math.pi], [1])


def _octahedron() -> tuple[torch.Tensor, torch.Tensor]:
    eye = torch.eye(3, dtype=torch.float64)
    return torch.cat([eye, -eye]), _full([4 * math.pi / 6], [6])


def _icosahedron() -> tuple[torch.Tensor, torch.Tensor]:
    golden = (1 + math.sqrt(5)) / 2
    face = [(0.0, float(s), t * golden) for s in (-1, 1) for t in (-1, 1)]
    return _on_sphere([_cyclic(p, k) for k in range(3) for p in face]), _full([4 * math.pi / 12], [12])


def _icosahedron_dodecahedron() -> tuple[torch.Tensor, torch.Tensor]:
    """12 + 20 vertices, weighted so that the only invariant below degree 10, at degree 6, integrates to 0."""
    golden = (1 + math.sqrt(5)) / 2
    # The dodecahedron dual to the icosahedron above takes the other handedness of the cyclic order.
    face = [(t * golden, s / golden, 0.0) for s in (-1, 1) for t in (-1, 1)]
    corners = [(float(s), float(t), float(u)) for s in (-1, 1) for t in (-1, 1) for u in (-1, 1)]
    dodecahedron = _on_sphere([_cyclic(p, k) for k in range(3) for p in face] + corners)
    points = torch.cat([_icosahedron()[0], dodecahedron])
    return points, _full([4 * math.pi * 5 / 168, 4 * math.pi * 27 / 840], [12, 20])


def _on_sphere(rows: list[tuple]) -> torch.Tensor:
    points = torch.tensor(rows, dtype=torch.float64)
    return points / points.norm(dim=1, keepdim=True)


def _cyclic(point: tuple, steps: int) -> tuple:
    return tuple(point[(axis - steps) % 3] for axis in range(3))


def _full(values: list[float], counts: list[int]) -> torch.Tensor:
    return torch.cat([torch.full((n,), v, dtype=torch.float64) for v, n in zip(values, counts, strict=True)])


def _stored(degree: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A set found numerically; its moments are checked whenever it is read."""
    with np.load(NODES_FILE, allow_pickle=False) as nodes:
        points = torch.tensor(nodes[f"degree{degree}_points"])
        weights = torch.tensor(nodes[f"degree{degree}_weights"])
    error = moment_error(points, weights, degree)
    if not error < MOMENT_TOLERANCE:
        raise InputError(f"{NODES_FILE}: the nodes of degree {degree} are damaged (moment error {error:.1e})")
    return points, weights


def _product_rule(degree: int) -> tuple[torch.Tensor, torch.Tensor]:
    height, height_weight = np.polynomial.legendre.leggauss(degree // 2 + 1)
    azimuth = 2 * np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1)
    radius = np.sqrt(1 - height**2)
    x = np.outer(radius, np.sin(azimuth))
    y = np.broadcast_to(height[:, None], x.shape)
    z = np.outer(radius, np.cos(azimuth))
    points = torch.tensor(np.stack([x, y, z], axis=-1).reshape(-1, 3))
    weights = torch.tensor(np.repeat(height_weight * 2 * np.pi / (degree + 1), degree + 1))
    return points, weights


_SMALL_SETS = (
    (0, _centre),
    (3, _octahedron),
    (5, _icosahedron),
    (6, lambda: _stored(6)),
    (9, _icosahedron_dodecahedron),
    (12, lambda: _stored(12)),
)
