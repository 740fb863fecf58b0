"""The compiled operators, if they were built: torch.ops.equitensor, registered when this is imported."""

from __future__ import annotations

import os

import torch  # before the extension, which is linked against its libraries

from equitensor.ops.cuda import why_not

PRECISIONS = (torch.float32, torch.float64)


def _load() -> str | None:
    if os.environ.get("EQUITENSOR_NO_EXT", "0") != "0":
        return "EQUITENSOR_NO_EXT is set"
    try:
        from equitensor import _kernels  # noqa: F401
    except ImportError as error:
        if "cannot import name '_kernels'" in str(error):
            return "the extension was not built (a C++ compiler and pip install --no-build-isolation are needed)"
        return f"the extension does not load ({error}): build it again for this torch"
    return None


WHY_NOT = _load()  # None where the compiled operators are loaded; else the reason, a sentence for the user


def compiled(*tensors, on_gpu: bool = False) -> bool:
    """Whether the compiled operators take these tensors, in float32 or float64: on the CPU, or where they run on GPUs.

    on_gpu: whether the operator has CUDA kernels.
    """
    devices = {t.device.type for t in tensors}
    here = devices == {"cpu"} or (on_gpu and devices == {"cuda"} and why_not() is None)
    return WHY_NOT is None and here and all(t.dtype in PRECISIONS for t in tensors)
