"""For operators composed of others: checks of shapes, and the derivatives that no kernel computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def fitting(name: str, dtype: torch.dtype, **arrays: tuple[Tensor | None, tuple[int, ...]]) -> list[Tensor | None]:
    """The arrays, contiguous; each is given with the shape that it must have. None stays None.

    Raises RuntimeError for another shape or dtype.
    """
    checked = []
    for array, (tensor, shape) in arrays.items():
        if tensor is not None and (tensor.shape != shape or tensor.dtype != dtype):
            what = f"{array} is {list(tensor.shape)} {tensor.dtype}"
            raise RuntimeError(f"{name}: {what}, expected {list(shape)} {dtype}")
        checked.append(None if tensor is None else tensor.contiguous())
    return checked


def second_by_parts(
    function: Callable, operands: Sequence[Tensor | None], g: Tensor, tangents: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """The gradients with respect to operands and g of <tangents, first>, first being the gradients of <g, function>.

    For tangents of weights, which forces have none of: `function` is made of operators that may be differentiated
    twice.
    """
    with torch.enable_grad():
        points = [None if t is None else t.detach().requires_grad_() for t in operands]
        g = g.detach().requires_grad_()
        moving = [(point, h) for point, h in zip(points, tangents, strict=True) if point is not None and h is not None]
        first = torch.autograd.grad(
            function(*points), [point for point, _ in moving], g, create_graph=True, materialize_grads=True
        )
        wrt = [point for point in points if point is not None]
        *gradients, by_g = torch.autograd.grad(first, [*wrt, g], [h for _, h in moving], allow_unused=True)
    given = iter(gradients)
    return *(None if point is None else next(given) for point in points), by_g
