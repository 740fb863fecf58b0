"""The Gaunt convolution on the grid where the filter of an edge is a function of one direction."""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.contraction import transform
from equitensor.ops.legendre import legendre, legendre_slopes


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
        slopes = legendre_slopes(direction @ odd_points.T, factors).unsqueeze(2)
        along = (direction @ tangents.T).view(-1, 1, 2, len(odd_points))
        parts.append((slopes * along).flatten(2))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def zonal_convolution(
    x: Tensor, filters: Tensor, edge_weight: Tensor, edge_index: Tensor, a: Tensor, c: Tensor, signals: int
) -> Tensor:
    """z_i = C^T sum over edges j -> i of (A x_j) * sum_l w_ij,l F_ij,l: (n, d3, C).

    Args:
        x: (n, d1, C) channels-last.
        filters: (e, degrees, R).
        edge_weight: (e, degrees, C).
        edge_index: (2, e), sender and receiver.
        a, c: (signals R, d1), (signals R, d3); the filter is the same for each kind of signal.
    """
    sender, receiver = edge_index
    values = transform(a, x)
    weighted = filters.transpose(1, 2).bmm(edge_weight).unsqueeze(1)
    messages = values.index_select(0, sender).unflatten(1, (signals, filters.shape[2])) * weighted
    total = values.new_zeros(values.shape).index_add(0, receiver, messages.flatten(1, 2))
    return transform(c.T, total)
