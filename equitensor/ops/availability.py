"""Whether an operation is computed by the core, or in plain torch."""

from __future__ import annotations

import torch

from equitensor import core
from equitensor.ops.cuda import why_not

PRECISIONS = (torch.float32, torch.float64)
WHY_NOT = core.WHY_NOT  # None where the core is loaded; else the reason, a sentence for the user


def has_kernel(*tensors, on_gpu: bool = False) -> bool:
    """Whether kernels take these tensors, in float32 or float64: those of the core on the CPU, or those for GPUs.

    on_gpu: whether the operator has CUDA kernels.
    """
    devices = {t.device.type for t in tensors}
    here = devices == {"cpu"} or (on_gpu and devices == {"cuda"} and why_not() is None)
    return WHY_NOT is None and here and all(t.dtype in PRECISIONS for t in tensors)
