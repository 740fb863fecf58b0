"""z_k = sum over i, j of T_ijk x_i y_j, channel by channel, for a sparse tensor T: compiled operators only.

In plain torch the same map is faster on a quadrature grid or as small matrix products (`direct_product`): those are
its reference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops import extension
from equitensor.ops.cuda import channel_product as on_gpu
from equitensor.ops.cuda.dispatch import implement
from equitensor.ops.direct_product import OPERANDS


def channel_product(x: Tensor, y: Tensor, index: Tensor, coefficients: Tensor, sizes: tuple[int, int, int]) -> Tensor:
    """(n, d3, C) of x (n, d1, C), y (n, d2, C) and the tables of `sparse_entries`; closed under differentiation."""
    return torch.ops.equitensor.channel_product(x, y, index, coefficients, sizes, 2)


def sparse_entries(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of T (d1, d2, d3), float64, as `sort_entries` lays them out, all of one path."""
    found = tensor.nonzero()
    columns = torch.cat([found, found.new_zeros(len(found), 1)], dim=1)
    return sort_entries(columns, tensor[tuple(found.T)])


def sort_entries(columns: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Entries (t, 4) of i, j, k, path with their values (t,), sorted for each slot.

    Returns index (3, 4, t) int32, for each slot result, first and second operand and path, sorted by result, first
    operand and path; and coefficients (3, t) float64.
    """
    index, coefficients = [], []
    for slot, (first, second) in enumerate(OPERANDS):
        ordered = columns[:, [slot, first, 3, second]]
        base = int(columns.max()) + 1 if len(columns) else 1
        order = (ordered * base ** torch.arange(3, -1, -1)).sum(dim=1).argsort()
        index.append(ordered[order][:, [0, 1, 3, 2]].T)
        coefficients.append(values[order])
    return torch.stack(index).to(torch.int32).contiguous(), torch.stack(coefficients).contiguous()


if extension.WHY_NOT is None:
    implement("channel_product", 2, on_gpu.product, on_gpu.reference)
