"""Sums over neighbours with filters of low rank: acc[receiver] += X[sender] * sum_l F_l w_l, edge by edge.

The filter (R, C) of an edge is never kept: edges go through in portions that fit the cache, and derivatives form
them again. S = sum over edges, rows and channels of X_j F_l w_l G_i is linear in all four, so that each derivative
is one of the two functions below.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

SCRATCH = 1 << 17  # elements of each array of a portion: 0.5 MB in float32


def accumulate(values: Tensor, filters: Tensor, weight: Tensor, sender: Tensor, receiver: Tensor) -> Tensor:
    """sum over edges j -> i of X_j,srC sum_l F_lr w_lC: (n, S, R, C), any number of times differentiable.

    Args:
        values: X (n, S, R, C), nodes; S kinds of signals share the filter.
        filters: F (e, degrees, R).
        weight: w (e, degrees, C).
        sender, receiver: (e,).
    """
    return _Accumulate.apply(values, filters, weight, sender, receiver)


class _Accumulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, filters: Tensor, weight: Tensor, sender: Tensor, receiver: Tensor) -> Tensor:
        ctx.save_for_backward(x, filters, weight, sender, receiver)
        total = torch.zeros_like(x)
        for part in _portions(x, len(sender)):
            messages = x.index_select(0, sender[part])
            messages *= filters[part].transpose(1, 2).bmm(weight[part]).unsqueeze(1)
            total.index_add_(0, receiver[part], messages)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        x, filters, weight, sender, receiver = ctx.saved_tensors
        grad = grad.contiguous()
        need_x, need_filters, need_weight = ctx.needs_input_grad[:3]
        grad_x = _Accumulate.apply(grad, filters, weight, receiver, sender) if need_x else None
        if not (need_filters or need_weight):
            return grad_x, None, None, None, None
        return (grad_x, *_Correlate.apply(x, grad, filters, weight, sender, receiver), None, None)


class _Correlate(torch.autograd.Function):
    """The derivatives of S in F and w: with P = X_j G_i, (sum_C w P, sum_r F P), each edge by itself."""

    @staticmethod
    def forward(ctx, x, grad, filters, weight, sender, receiver) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, grad, filters, weight, sender, receiver)
        grad_filters, grad_weight = torch.empty_like(filters), torch.empty_like(weight)
        for part in _portions(x, len(sender)):
            products = x.index_select(0, sender[part])
            products *= grad.index_select(0, receiver[part])
            products = products.squeeze(1) if x.shape[1] == 1 else products.sum(1)
            grad_filters[part] = weight[part].bmm(products.transpose(1, 2))
            grad_weight[part] = filters[part].bmm(products)
        return grad_filters, grad_weight

    @staticmethod
    def backward(ctx, h_filters: Tensor, h_weight: Tensor) -> tuple:
        """S(X, h_filters, w, G) + S(X, F, h_weight, G): both at once with twice the degrees."""
        x, grad, filters, weight, sender, receiver = ctx.saved_tensors
        both = torch.cat([h_filters, filters], dim=1), torch.cat([weight, h_weight], dim=1)
        need_x, need_grad, need_filters, need_weight = ctx.needs_input_grad[:4]
        grad_x = _Accumulate.apply(grad, *both, receiver, sender) if need_x else None
        grad_grad = _Accumulate.apply(x, *both, sender, receiver) if need_grad else None
        if not (need_filters or need_weight):
            return grad_x, grad_grad, None, None, None, None
        return (grad_x, grad_grad, *_Correlate.apply(x, grad, h_filters, h_weight, sender, receiver), None, None)


def _portions(x: Tensor, edges: int) -> Iterator[slice]:
    """Slices of the edges; all of them at once away from the CPU and while a compiler looks on."""
    whole = x.device.type != "cpu" or torch.compiler.is_compiling()
    step = max(1, edges if whole else SCRATCH // max(1, x[:1].numel()))
    for start in range(0, edges, step):
        yield slice(start, min(start + step, edges))
