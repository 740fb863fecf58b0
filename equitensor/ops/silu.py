"""x / (1 + exp(-x)), with fused first and second derivatives where the compiled operators are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from equitensor.ops.extension import compiled


def silu(x: Tensor) -> Tensor:
    """silu of every entry; compiled (csrc/ops/silu.inl) it may be differentiated twice, else any number of times."""
    return torch.ops.equitensor.silu(x) if compiled(x) else functional.silu(x)
