"""Registers kernels as the CUDA implementation of operators, and says why the reference runs where they do not."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import torch
from torch import Tensor

from equitensor.ops.cuda import module
from equitensor.ops.cuda.compiler import CompilationError, knows, version
from equitensor.ops.cuda.proof import Proof
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


IMPLEMENTED: dict[str, Callable] = {}  # what computes each operator on a GPU
PROVED: dict[str, Proof] = {}  # how it is compared with plain torch


def implement(
    name: str, operands: int, kernel: Callable, reference: Callable | None = None, proof: Proof | None = None
) -> None:
    """Let `kernel` compute the operator on GPUs, and `reference` what it does not take; both with its arguments.

    The first `operands` arguments must be of one precision, float32 or float64, for the kernel. proof: how what it
    compiles is compared with plain torch at first use.
    """

    @functools.wraps(kernel)
    def call(*arguments):
        with torch.autocast("cuda", enabled=False):
            return first_that_can(name, operands, kernel, reference, arguments, proof)

    IMPLEMENTED[name] = call
    if proof is not None:
        PROVED[name] = proof
    _LIBRARY.impl(name, call, "CUDA")


def first_that_can(
    name: str,
    operands: int,
    kernel: Callable,
    reference: Callable | None,
    arguments: tuple,
    proof: Proof | None = None,
):
    """The kernel's result, or the reference's and, once, a line in the log that says why."""
    reason = why_not() or _refusal(arguments[:operands])
    family = name.partition("_gradients")[0].partition("_tangents")[0]
    if reason is None:
        try:
            try:
                return kernel(*arguments)
            except module.Unproved as unproved:
                if proof is None:
                    raise
                module.settle(unproved, proof, arguments, arguments[0].dtype)
            return kernel(*arguments)
        except module.Refused as error:
            reason = str(error)
            if reference is not None:
                _warn_once_of(family, error)
                return reference(*arguments)
        except (Unsupported, CompilationError) as error:
            reason = str(error)
    if reference is None:
        raise RuntimeError(f"{name} has no kernel for this on a GPU: {reason}")
    _warn_once(family, reason)
    return reference(*arguments)


_refusals: set[tuple] = set()


def _warn_once_of(name: str, error: module.Refused) -> None:
    """One warning for all that a kernel does on a device: values, gradients, other channels."""
    if (error.kernel, error.device) not in _refusals:
        _refusals.add((error.kernel, error.device))
        _warn_once(name, str(error))


def _refusal(operands: tuple[Tensor | None, ...]) -> str | None:
    dtypes = {t.dtype for t in operands if t is not None}
    if len(dtypes) == 1 and dtypes <= set(PRECISIONS):
        return None
    return f"operands are {', '.join(sorted(map(str, dtypes)))}: kernels take float32 or float64"


@functools.cache
def _warn_once(name: str, reason: str) -> None:
    _log.warning("%s runs in plain torch on the GPU, more slowly: %s", name, reason)
