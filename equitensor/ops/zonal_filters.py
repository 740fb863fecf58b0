"""Filters of the Gaunt convolution on the grid that are functions of one direction, the edge's."""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.legendre import legendre, legendre_derivatives


def zonal_filters(
    direction: Tensor, factors: list[float], points: Tensor, odd_points: Tensor, tangents: Tensor
) -> Tensor:
    """Each degree of the filter at each row of the grid: (e, degrees, Q + 2 Q') of unit vectors (e, 3).

    s_l P_l(n . u) at points (Q, 3), s_l P_l'(n . u) (t . u) at odd_points (Q', 3) along tangents (2 Q', 3).
    """
    parts = []
    if len(points):
        parts.append(legendre(direction @ points.T, factors))
    if len(odd_points):
        derivatives = legendre_derivatives(direction @ odd_points.T, factors).unsqueeze(2)
        components = (direction @ tangents.T).view(-1, 1, 2, len(odd_points))
        parts.append((derivatives * components).flatten(2))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
