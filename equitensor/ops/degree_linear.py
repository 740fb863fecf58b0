"""One matrix per degree on the channels of features (n, (L+1)^2, C): closed under differentiation."""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.availability import has_kernel
from equitensor.ops.operator import Kernel, define


def degree_linear(x: Tensor, weight: Tensor) -> Tensor:
    """y_lm = x_lm W_l: (n, (L+1)^2, C_out) of x (n, (L+1)^2, C_in) and weight (L+1, C_in, C_out)."""
    return _linear(x, weight, False) if has_kernel(x, weight) else degree_linear_reference(x, weight)


def degree_linear_reference(x: Tensor, weight: Tensor) -> Tensor:
    degree = torch.arange(len(weight), device=x.device)
    matrices = weight.index_select(0, degree.repeat_interleave(2 * degree + 1, output_size=x.shape[1]))
    # Components outside, atoms inside: (L+1)^2 products of (n, C_in) with (C_in, C_out).
    return torch.bmm(x.transpose(0, 1), matrices).transpose(0, 1).contiguous()


_LINEAR = Kernel("degree_linear", sizes=5, arrays=3)
_OUTER = Kernel("degree_outer", sizes=4, arrays=3)


def linear_on_core(x: Tensor, weight: Tensor, turned: bool) -> Tensor:
    x, weight = x.contiguous(), weight.contiguous()
    degrees, rows, columns = _matrices(weight)
    expected, out = (columns, rows) if turned else (rows, columns)
    if x.dim() != 3 or x.shape[1] != degrees * degrees or x.shape[2] != expected:
        raise RuntimeError(f"degree_linear: x has shape {list(x.shape)}, expected (n, {degrees * degrees}, {expected})")
    if x.dtype != weight.dtype:
        raise RuntimeError(f"degree_linear: x is {x.dtype}, weight {weight.dtype}")
    y = x.new_empty(x.shape[0], x.shape[1], out)
    _LINEAR(x.dtype, (x.shape[0], degrees, rows, columns, turned), (x, weight, y))
    return y


def _matrices(weight: Tensor) -> tuple[int, int, int]:
    if weight.dim() != 3:
        raise RuntimeError(f"degree_linear: weight has shape {list(weight.shape)}, expected (L+1, in, out)")
    degrees, rows, columns = weight.shape
    return degrees, rows, columns


def outer_on_core(x: Tensor, g: Tensor, degrees: int) -> Tensor:
    x, g = x.contiguous(), g.contiguous()
    if x.dim() != 3 or g.dim() != 3 or x.shape[:2] != g.shape[:2] or x.shape[1] != degrees**2 or x.dtype != g.dtype:
        raise RuntimeError(
            f"degree_outer: x and g are {list(x.shape)} {x.dtype} and {list(g.shape)} {g.dtype}, expected "
            f"(n, {degrees**2}, channels) in one precision"
        )
    outer = x.new_empty(degrees, x.shape[2], g.shape[2])
    _OUTER(x.dtype, (x.shape[0], *outer.shape), (x, g, outer))
    return outer


# Each is linear in both arguments, and each derivative is the other or itself.


def _linear_backward(arguments, needs, g):
    x, weight, turned = arguments
    of_x = _linear(g, weight, not turned) if needs[0] else None
    if not needs[1]:
        return of_x, None
    return of_x, _outer(g, x, len(weight)) if turned else _outer(x, g, len(weight))


def _outer_backward(arguments, needs, h):
    x, g, _ = arguments
    return _linear(g, h, True) if needs[0] else None, _linear(x, h, False) if needs[1] else None


_linear = define(
    "degree_linear(Tensor x, Tensor weight, bool turned) -> Tensor",
    kernel=linear_on_core,
    fake=lambda x, weight, turned: x.new_empty(x.shape[0], x.shape[1], weight.shape[1 if turned else 2]),
    backward=_linear_backward,
)
_outer = define(
    "degree_outer(Tensor x, Tensor g, int degrees) -> Tensor",
    kernel=outer_on_core,
    fake=lambda x, g, degrees: x.new_empty(degrees, x.shape[2], g.shape[2]),
    backward=_outer_backward,
)
