"""The compiled operators, if they were built: torch.ops.equitensor, registered when this is first asked for."""

from __future__ import annotations

import functools
import os

import torch


@torch.compiler.assume_constant_result
@functools.cache
def why_not_compiled() -> str | None:
    """None where the compiled operators are loaded; else the reason, as a sentence for the user."""
    if os.environ.get("EQUITENSOR_NO_EXT", "0") != "0":
        return "EQUITENSOR_NO_EXT is set"
    try:
        from equitensor import _kernels  # noqa: F401
    except ImportError as error:
        if "_kernels" in str(error) and "cannot import name" in str(error):
            return "the extension was not built (a C++ compiler and pip install --no-build-isolation are needed)"
        return f"the extension does not load ({error}): build it again for this torch"
    return None


def compiled(*tensors) -> bool:
    """Whether the compiled operators take these tensors: on the CPU, in float32 or float64."""
    return all(t.device.type == "cpu" and t.dtype.itemsize >= 4 for t in tensors) and why_not_compiled() is None
