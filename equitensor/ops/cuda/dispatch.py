"""Registers kernels as the CUDA implementation of operators, and says why the reference runs where they do not."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import torch
from torch import Tensor

from equitensor.ops.cuda.compiler import CompilationError, knows, version
from equitensor.ops.cuda.source import Unsupported

PRECISIONS = (torch.float32, torch.float64)
_LIBRARY = torch.library.Library("equitensor", "FRAGMENT")
_log = logging.getLogger(__name__)


@functools.cache
def why_not() -> str | None:
    """None where kernels can be compiled for this machine's GPU; else the reason, a sentence for the user."""
    if not torch.cuda.is_available():
        return "torch sees no GPU"
    if torch.version.cuda is None:
        return "this torch is not built for CUDA"
    try:
        major, minor = torch.cuda.get_device_capability()
        if not knows(arch := f"sm_{major}{minor}"):
            return f"NVRTC {version()} does not know {arch}: install a newer nvidia-cuda-nvrtc"
    except CompilationError as error:
        return f"{error}: pip install equitensor[cuda{torch.version.cuda.partition('.')[0]}]"
    return None


def implement(name: str, operands: int, kernel: Callable, reference: Callable | None = None) -> None:
    """Let `kernel` compute the operator on GPUs, and `reference` what it does not take; both with its arguments.

    The first `operands` arguments must be of one precision, float32 or float64, for the kernel.
    """

    @functools.wraps(kernel)
    def call(*arguments):
        with torch.autocast("cuda", enabled=False):
            return first_that_can(name, operands, kernel, reference, arguments)

    _LIBRARY.impl(name, call, "CUDA")


def first_that_can(name: str, operands: int, kernel: Callable, reference: Callable | None, arguments: tuple):
    """The kernel's result, or the reference's and, once, a line in the log that says why."""
    reason = why_not() or _refusal(arguments[:operands])
    if reason is None:
        try:
            return kernel(*arguments)
        except (Unsupported, CompilationError) as error:
            reason = str(error)
    if reference is None:
        raise RuntimeError(f"{name} has no kernel for this on a GPU: {reason}")
    _say_once(name.partition("_gradients")[0].partition("_tangents")[0], reason)
    return reference(*arguments)


def _refusal(operands: tuple[Tensor | None, ...]) -> str | None:
    found = {t.dtype for t in operands if t is not None}
    if len(found) == 1 and found <= set(PRECISIONS):
        return None
    return f"operands are {', '.join(sorted(map(str, found)))}: kernels take float32 or float64"


@functools.cache
def _say_once(name: str, reason: str) -> None:
    _log.warning("%s runs in plain torch on the GPU, more slowly: %s", name, reason)
