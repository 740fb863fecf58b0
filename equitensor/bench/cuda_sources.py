"""The CUDA sources of operators for given problems, and what their machine code needs; no GPU takes part."""

from __future__ import annotations

import re
from typing import NamedTuple
from unittest import mock

import torch

from equitensor.bench.products import natural
from equitensor.nn import Convolution
from equitensor.ops.cuda import module, uvu_convolution
from equitensor.ops.cuda.source import Source

ENTRY = re.compile(r"Compiling entry function '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


class Resources(NamedTuple):
    """Of one kernel: registers a thread, bytes of shared memory a block, bytes spilled (stored and loaded)."""

    kernel: str
    registers: int
    shared: int
    spilled: int


def resources(log: str) -> list[Resources]:
    """From the log of the compiler."""
    found = []
    for text in log.split("ptxas info    : Compiling entry function")[1:]:
        spills, shared = SPILLS.search(text), SHARED.search(text)
        registers = int(USED.search(text).group(1))
        name = text.split("'")[1]
        if registers > 4 or (shared and int(shared.group(1))):  # a kernel that is not wanted is an empty one
            spilled = sum(map(int, spills.groups())) if spills else 0
            found.append(Resources(name, registers, int(shared.group(1)) if shared else 0, spilled))
    return found


def sources(lmax: int, channels: int, dtype: torch.dtype) -> dict[str, Source]:
    """For each operator and order what the wrapper would compile, at natural parities up to lmax."""
    found = {}
    for name, calls in {"uvu convolution": _uvu(lmax, channels, dtype)}.items():
        for order, call in zip(("values", "gradients", "tangents"), calls, strict=True):
            for source in _asked_for(call):
                found[f"{name}, {order}"] = source
    return found


class _Nothing:
    def launch(self, *arguments) -> None:
        """Runs nothing."""


def _asked_for(call) -> list[Source]:
    asked = []

    def load(source: Source, device: torch.device) -> _Nothing:
        asked.append(source)
        return _Nothing()

    with mock.patch.object(module, "load", load):
        call()
    return asked


def _uvu(lmax: int, channels: int, dtype: torch.dtype) -> tuple:
    irreps = natural(lmax, channels)
    conv = Convolution(irreps, natural(lmax, 1), irreps).to(dtype)
    widths = (conv.irreps_in.dim, conv.irreps_edge.dim, conv.weight_numel, conv.irreps_out.dim)
    x, y, w, g = (torch.zeros(1, width, dtype=dtype) for width in widths)
    edge = torch.zeros(1, dtype=torch.int64)
    constants = (edge, edge, conv.map.coupling, conv.map.plan, widths[3])
    return (
        lambda: uvu_convolution.values(x, y, w, *constants),
        lambda: uvu_convolution.gradients(x, y, w, g, True, True, True, *constants),
        lambda: uvu_convolution.tangents(x, y, w, g, x, y, w, *constants),
    )
