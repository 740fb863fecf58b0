"""The Gaunt convolution on the grid: nodes are transformed once, edges only multiply and accumulate."""

from __future__ import annotations

from torch import Tensor

from equitensor.ops.contraction import transform


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
        b: (d2, R degrees), B with the columns of each degree kept apart.
        c: (R, d3).
    """
    sender, receiver = edge_index
    values = transform(a, x)
    filters = (edge_attr @ b).view(-1, a.shape[0], edge_weight.shape[1]).bmm(edge_weight)
    total = values.new_zeros(values.shape).index_add(0, receiver, values.index_select(0, sender) * filters)
    return transform(c.T, total)
