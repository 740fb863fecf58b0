"""Direct contraction z_k = sum_ij T_ijk x_i y_j with a sparse tensor, a small matrix per group of products.

Only products x_i y_j that occur are formed, for some items at a time, in a scratch array that fits the cache.
Closed under differentiation: each derivative is the same function with the slots of T exchanged.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SCRATCH = 1 << 18  # elements of the array of products
OPERANDS = ((1, 2), (0, 2), (0, 1))  # the operand slots of T that lead to slots 0, 1 and 2


class PairTable(NamedTuple):
    """How T leads to one of its slots: products first (G, P) times second (G, P), matrix (G, K, P) on each group.

    position (d,) is where each component of the result lies in (G, K); padded entries of the matrix are zero.
    """

    first: Tensor
    second: Tensor
    matrix: Tensor
    position: Tensor


def direct_product(x: Tensor, y: Tensor, tables: tuple[PairTable, PairTable, PairTable]) -> Tensor:
    """z (d3, N) of x (d1, N) and y (d2, N), components first; one table per slot of T (x, y, z)."""
    return _Product.apply(x, y, tables, 2)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, tables: tuple, slot: int) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.tables, ctx.slot = tables, slot
        table = tables[slot]
        columns = x.shape[1]
        step = max(1, SCRATCH // max(1, table.first.numel()))
        if columns <= step:
            return _contract(x, y, table)
        z = x.new_empty(len(table.position), columns)
        for start in range(0, columns, step):
            part = slice(start, min(start + step, columns))
            z[:, part] = _contract(x[:, part], y[:, part], table)
        return z

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        p, q = OPERANDS[ctx.slot]
        known = dict(zip((p, q), ctx.saved_tensors, strict=True)) | {ctx.slot: grad}
        grads = []
        for slot, needed in zip((p, q), ctx.needs_input_grad[:2], strict=True):
            first, second = OPERANDS[slot]
            grads.append(_Product.apply(known[first], known[second], ctx.tables, slot) if needed else None)
        return (*grads, None, None)


def _contract(x: Tensor, y: Tensor, table: PairTable) -> Tensor:
    pairs = x.index_select(0, table.first.flatten()) * y.index_select(0, table.second.flatten())
    return table.matrix.bmm(pairs.unflatten(0, table.first.shape)).flatten(0, 1).index_select(0, table.position)
