"""x / (1 + exp(-x)), with fused first and second derivatives: torch's second is a dozen passes over memory."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from equitensor.ops.availability import has_kernel
from equitensor.ops.operator import Kernel, allocate, define


def silu(x: Tensor) -> Tensor:
    """silu of every entry; on the core it may be differentiated twice, in plain torch any number of times."""
    return _silu(x) if has_kernel(x) else functional.silu(x)


_VALUES = Kernel("silu", sizes=1, arrays=2)
_BACKWARD = Kernel("silu_backward", sizes=1, arrays=3)
_SECOND = Kernel("silu_second", sizes=1, arrays=5)


def _on_core(x: Tensor) -> Tensor:
    x, y = x.contiguous(), allocate(x)
    _VALUES(x.dtype, (x.numel(),), (x, y))
    return y


def _backward_on_core(x: Tensor, g: Tensor) -> Tensor:
    x, g, dx = x.contiguous(), g.contiguous(), allocate(x)
    _BACKWARD(x.dtype, (x.numel(),), (x, g, dx))
    return dx


def _second_on_core(x: Tensor, g: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    x, g, h, dx, dg = x.contiguous(), g.contiguous(), h.contiguous(), allocate(x), allocate(g)
    _SECOND(x.dtype, (x.numel(),), (x, g, h, dg, dx))
    return dx, dg


_second = define(
    "silu_second(Tensor x, Tensor g, Tensor h) -> (Tensor, Tensor)",
    kernel=_second_on_core,
    fake=lambda x, g, h: (allocate(x), allocate(g)),
)
_backward = define(
    "silu_backward(Tensor x, Tensor g) -> Tensor",
    kernel=_backward_on_core,
    fake=lambda x, g: allocate(x),
    backward=lambda arguments, needs, h: _second(*arguments, h),
)
_silu = define(
    "silu(Tensor x) -> Tensor",
    kernel=_on_core,
    fake=lambda x: allocate(x),
    backward=lambda arguments, needs, g: (_backward(*arguments, g),),
)
