"""z_k = sum over i, j of T_ijk x_i y_j, channel by channel, for a sparse tensor T: compiled operators only.

In plain torch the same map is faster on a quadrature grid or as small matrix products (`direct_product`): those are
its reference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.direct_product import OPERANDS


def channel_product(x: Tensor, y: Tensor, index: Tensor, coefficients: Tensor, sizes: tuple[int, int, int]) -> Tensor:
    """(n, d3, C) of x (n, d1, C), y (n, d2, C) and the tables of `sparse_entries`; closed under differentiation."""
    return torch.ops.equitensor.channel_product(x, y, index, coefficients, sizes, 2)


def sparse_entries(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of T (d1, d2, d3) sorted for each slot: index (3, 3, t) int32, coefficients (3, t) float64.

    index[slot] holds result, first and second operand; T in float64.
    """
    found = tensor.nonzero()
    values = tensor[tuple(found.T)]
    index, coefficients = [], []
    for slot, (first, second) in enumerate(OPERANDS):
        columns = found[:, [slot, first, second]]
        key = (columns[:, 0] * tensor.shape[first] + columns[:, 1]) * tensor.shape[second] + columns[:, 2]
        order = key.argsort()
        index.append(columns[order].T)
        coefficients.append(values[order])
    return torch.stack(index).to(torch.int32).contiguous(), torch.stack(coefficients).contiguous()
