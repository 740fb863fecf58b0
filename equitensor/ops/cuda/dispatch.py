"""Registers kernels as the CUDA implementation of operators, and says why the reference runs where they do not."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import torch
from torch import Tensor

from equitensor.ops.cuda.compiler import CompilationError, version
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
        version()
    except CompilationError as error:
        return f"{error}: pip install equitensor[cuda{torch.version.cuda.partition('.')[0]}]"
    return None


def implement(name: str, kernel: Callable, reference: Callable) -> None:
    """Let `kernel` compute the operator on GPUs, and `reference` what it does not take; both with its arguments."""

    @functools.wraps(reference)
    def call(*arguments):
        with torch.autocast("cuda", enabled=False):
            return first_that_can(name, kernel, reference, arguments)

    _LIBRARY.impl(name, call, "CUDA")


def first_that_can(name: str, kernel: Callable, reference: Callable, arguments: tuple):
    reason = why_not() or _refusal(arguments)
    if reason is None:
        try:
            return kernel(*arguments)
        except (Unsupported, CompilationError) as error:
            reason = str(error)
    _say_once(name.partition("_gradients")[0].partition("_tangents")[0], reason)
    return reference(*arguments)


def _refusal(arguments: tuple) -> str | None:
    numbers = [t for t in arguments if isinstance(t, Tensor) and t.is_floating_point()]
    if len({t.dtype for t in numbers}) > 1 or numbers[0].dtype not in PRECISIONS:
        return f"operands are {', '.join(sorted({str(t.dtype) for t in numbers}))}: kernels take float32 or float64"
    return None


@functools.cache
def _say_once(name: str, reason: str) -> None:
    _log.warning("%s runs in plain torch on the GPU, more slowly: %s", name, reason)
