"""All paths of a bilinear product with shared weights as one batched matrix product over channels.

z_k = sum_ij x_i y_j M_ijk, one tensor M per channel. The products x_i y_j are formed for a few channels at a time
in one scratch buffer: (N, d1 d2, C) in full is 16 times the operands at L = 3, and its memory costs more than its
arithmetic. Closed under differentiation: each derivative is one of the two functions below with M's axes permuted.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

SCRATCH = 1 << 18  # numbers in the buffer of products: 1 MB in float32, which stays in the cache


def mixed_product(x: Tensor, y: Tensor, mixed: Tensor) -> Tensor:
    """z_k = sum_ij x_i y_j M_ijk: (N, d3, C).

    x (N, d1, C), y (N, d2, C), mixed (C, d1, d2, d3), or (1, d1, d2, d3) for all channels alike.
    """
    if mixed.shape[0] == 1:
        items, _, channels = x.shape
        rows = [t.transpose(1, 2).reshape(1, items * channels, t.shape[1]) for t in (x, y)]
        z = _Product.apply(*rows, mixed)
        return z.view(items, channels, mixed.shape[3]).transpose(1, 2)
    first, second = x.permute(2, 0, 1).contiguous(), y.permute(2, 0, 1).contiguous()
    return _Product.apply(first, second, mixed).permute(1, 2, 0)


class _Product(torch.autograd.Function):
    """(C, N, d1), (C, N, d2), (C, d1, d2, d3) -> (C, N, d3)."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, mixed: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, mixed)
        z = x.new_empty(*x.shape[:2], mixed.shape[3])
        matrices = mixed.reshape(len(mixed), -1, mixed.shape[3])
        for part, pairs in _pairs(x, y):
            torch.bmm(pairs, matrices[part], out=z[part])
        return z

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        x, y, mixed = ctx.saved_tensors
        grad = grad.contiguous()
        need_x, need_y, need_mixed = ctx.needs_input_grad
        return (
            _Product.apply(grad, y, mixed.permute(0, 3, 2, 1)) if need_x else None,
            _Product.apply(grad, x, mixed.permute(0, 3, 1, 2)) if need_y else None,
            _Moment.apply(x, y, grad) if need_mixed else None,
        )


class _Moment(torch.autograd.Function):
    """sum over N of x_i y_j g_k: (C, d1, d2, d3), the derivative of the product in M."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, grad: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, grad)
        moment = x.new_empty(len(x), x.shape[2] * y.shape[2], grad.shape[2])
        for part, pairs in _pairs(x, y):
            torch.bmm(pairs.transpose(1, 2), grad[part], out=moment[part])
        return moment.view(len(x), x.shape[2], y.shape[2], grad.shape[2])

    @staticmethod
    def backward(ctx, cotangent: Tensor) -> tuple:
        x, y, grad = ctx.saved_tensors
        need_x, need_y, need_grad = ctx.needs_input_grad
        return (
            _Product.apply(y, grad, cotangent.permute(0, 2, 3, 1)) if need_x else None,
            _Product.apply(x, grad, cotangent.permute(0, 1, 3, 2)) if need_y else None,
            _Product.apply(x, y, cotangent) if need_grad else None,
        )


def _pairs(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """x_i y_j (c, N, d1 d2) for a few channels at a time, in a buffer that the next ones overwrite."""
    channels, items, d1 = x.shape
    d2 = y.shape[2]
    step = max(1, min(channels, SCRATCH // max(1, items * d1 * d2)))
    buffer = x.new_empty(step, items, d1, d2)
    for start in range(0, channels, step):
        part = slice(start, min(start + step, channels))
        pairs = buffer[: part.stop - start]
        torch.mul(x[part].unsqueeze(-1), y[part].unsqueeze(-2), out=pairs)
        yield part, pairs.flatten(-2)
