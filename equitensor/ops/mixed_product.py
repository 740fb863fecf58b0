"""All paths of a bilinear product with shared weights as one batched matrix product over channels.

z_k = sum_ij x_i y_j M_ijk, one tensor M per channel. The products x_i y_j are formed for a few channels at a time
in one scratch buffer: all of them at once are many times the operands, and their memory costs more than their
arithmetic. Closed under differentiation: each derivative is one of the two functions below with M's axes permuted.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

SCRATCH = 1 << 18  # elements of the buffer of products: 1 MB in float32, which stays in the cache


def mixed_product(x: Tensor, y: Tensor, mixed: Tensor) -> Tensor:
    """z_k = sum_ij x_i y_j M_ijk, channels first and items last: (C, d3, N).

    x (C, d1, N), y (C, d2, N), mixed (C, d1, d2, d3). Differentiable any number of times.
    """
    return _Product.apply(x.contiguous(), y.contiguous(), mixed)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, mixed: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, mixed)
        z = x.new_empty(x.shape[0], mixed.shape[3], x.shape[2])
        matrices = mixed.flatten(1, 2).transpose(1, 2)
        for part, pairs in _pairs(x, y):
            torch.bmm(matrices[part], pairs, out=z[part])
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
    """sum over the items of x_i y_j g_k: (C, d1, d2, d3), the derivative of the product in M."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, grad: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, grad)
        moment = x.new_empty(x.shape[0], x.shape[1] * y.shape[1], grad.shape[1])
        for part, pairs in _pairs(x, y):
            torch.bmm(pairs, grad[part].transpose(1, 2), out=moment[part])
        return moment.view(x.shape[0], x.shape[1], y.shape[1], grad.shape[1])

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
    """x_i y_j (c, d1 d2, N) for a few channels at a time, in a buffer that the next ones overwrite."""
    channels, d1, items = x.shape
    d2 = y.shape[1]
    step = max(1, min(channels, SCRATCH // max(1, items * d1 * d2)))
    buffer = x.new_empty(step, d1, d2, items)
    for start in range(0, channels, step):
        part = slice(start, min(start + step, channels))
        pairs = buffer[: part.stop - start]
        torch.mul(x[part].unsqueeze(2), y[part].unsqueeze(1), out=pairs)
        yield part, pairs.flatten(1, 2)
