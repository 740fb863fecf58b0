"""What operators that are made of others share: shapes that must fit, and derivatives that no kernel has."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def fitting(name: str, dtype: torch.dtype, **arrays: tuple[Tensor | None, tuple[int, ...]]) -> list[Tensor | None]:
    """The arrays, contiguous; each is given with the shape that it must have. None stays None.

    Raises RuntimeError for another shape or dtype.
    """
    found = []
    for array, (tensor, shape) in arrays.items():
        if tensor is not None and (tensor.shape != shape or tensor.dtype != dtype):
            what = f"{array} is {list(tensor.shape)} {tensor.dtype}"
            raise RuntimeError(f"{name}: {what}, expected {list(shape)} {dtype}")
        found.append(None if tensor is None else tensor.contiguous())
    return found


def second_by_parts(
    function: Callable, operands: Sequence[Tensor | None], g: Tensor, along: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """The gradients of <along, first> by the operands and by g, where first are the gradients of <g, function>.

    For tangents of weights, which forces have none of: `function` is made of operators that may be differentiated
    twice.
    """
    with torch.enable_grad():
        points = [None if t is None else t.detach().requires_grad_() for t in operands]
        g = g.detach().requires_grad_()
        moving = [(point, h) for point, h in zip(points, along, strict=True) if point is not None and h is not None]
        first = torch.autograd.grad(
            function(*points), [point for point, _ in moving], g, create_graph=True, materialize_grads=True
        )
        wrt = [point for point in points if point is not None]
        *found, by_g = torch.autograd.grad(first, [*wrt, g], [h for _, h in moving], allow_unused=True)
    found = iter(found)
    return *(None if point is None else next(found) for point in points), by_g
