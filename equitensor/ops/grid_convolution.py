"""The Gaunt convolution on the grid: nodes are transformed once, edges only multiply and accumulate."""

from __future__ import annotations

from torch import Tensor

from equitensor.ops.contraction import transform
from equitensor.ops.edge_accumulation import accumulate


def grid_convolution(
    x: Tensor, edge_attr: Tensor, edge_weight: Tensor, edge_index: Tensor, a: Tensor, b: Tensor, c: Tensor
) -> Tensor:
    """z_i = C^T sum over edges j -> i of (A x_j) * sum_l w_ij,l (B_l y_ij): (n, d3, C).

    A commutes with the gather and C with the sum, so an edge costs R multiply-adds per degree and channel.

    Args:
        x: (n, d1, C) channels-last.
        edge_attr: (e, d2).
        edge_weight: (e, degrees, C).
        edge_index: (2, e), sender and receiver.
        a: (R, d1).
        b: (d2, degrees R), B with the columns of each degree kept apart.
        c: (R, d3).
    """
    filters = (edge_attr @ b).view(len(edge_attr), edge_weight.shape[1], len(a))
    return filtered_sum(x, filters, edge_weight, edge_index, a, c)


def filtered_sum(
    x: Tensor, filters: Tensor, edge_weight: Tensor, edge_index: Tensor, a: Tensor, c: Tensor, signals: int = 1
) -> Tensor:
    """z_i = C^T sum over edges j -> i of (A x_j) * sum_l w_ij,l F_ij,l, with filters F (e, degrees, R).

    A and C have signals * R rows: the filter is the same for each kind of signal.
    """
    values = transform(a, x).unflatten(1, (signals, filters.shape[2]))
    return transform(c.T, accumulate(values, filters, edge_weight, *edge_index).flatten(1, 2))
