"""The CUDA sources of operators for given problems, and what their machine code needs; no GPU takes part."""

from __future__ import annotations

import re
from typing import NamedTuple
from unittest import mock

import torch

from equitensor.bench.products import natural
from equitensor.nn import Convolution, Interaction
from equitensor.nn.natural_coupling import natural_coupling
from equitensor.ops.cuda import channel_product, density_product, edge_form, module, uuu_product, uvu_convolution
from equitensor.ops.cuda.source import Source
from equitensor.ops.density_product import SparseTensor

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
    usage = []
    for text in log.split("ptxas info    : Compiling entry function")[1:]:
        spills, shared, used = SPILLS.search(text), SHARED.search(text), USED.search(text)
        name = text.split("'")[1]
        if used is None:
            raise ValueError(f"the compiler's log says of no registers that {name} uses")
        registers = int(used.group(1))
        if registers > 4 or (shared and int(shared.group(1))):  # a kernel that is not wanted is an empty one
            spilled = sum(map(int, spills.groups())) if spills else 0
            usage.append(Resources(name, registers, int(shared.group(1)) if shared else 0, spilled))
    return usage


def sources(lmax: int, channels: int, dtype: torch.dtype) -> dict[str, Source]:
    """For each operator and order what the wrapper would compile, at natural parities up to lmax."""
    operators = {
        "uvu convolution": _uvu(lmax, channels, dtype),
        "uuu product": _uuu(lmax, channels, dtype),
        "gaunt product": _channel_product(lmax, channels, dtype),
        "edge sums": _edge_form(lmax, channels, dtype),
        "density product": _density_product(lmax, channels, dtype),
    }
    by_name = {}
    for name, calls in operators.items():
        for order, call in zip(("values", "gradients", "tangents"), calls, strict=False):
            (by_name[f"{name}, {order}"],) = _asked_for(call)
    return by_name


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


def _uuu(lmax: int, channels: int, dtype: torch.dtype) -> tuple:
    """Weights of each item and channel."""
    irreps = natural(lmax, channels)
    product = Interaction(irreps, irreps, irreps, form="paths").map.to(dtype)
    paths = len(product.plan)
    x, w = torch.zeros(1, channels * (lmax + 1) ** 2, dtype=dtype), torch.zeros(paths, 1, channels, dtype=dtype)
    constants = (product.coupling, product.plan, *product.flat_layout)
    return (
        lambda: uuu_product.values(x, x, w, *constants),
        lambda: uuu_product.gradients(x, x, w, x, True, True, True, *constants),
        lambda: uuu_product.tangents(x, x, w, x, x, x, w, *constants),
    )


def _channel_product(lmax: int, channels: int, dtype: torch.dtype) -> tuple:
    (index, coefficients, _), d = _coupling(lmax, "gaunt"), (lmax + 1) ** 2
    x = torch.zeros(1, d, channels, dtype=dtype)
    return (lambda: channel_product.product(x, x, index, coefficients, (d, d, d), 2),)


def _edge_form(lmax: int, channels: int, dtype: torch.dtype) -> tuple:
    d, rev = (lmax + 1) ** 2, torch.zeros(1, dtype=torch.int64)
    shapes = ((1, 1, d), (1, channels), (1, channels), (1, d, channels))
    y, a, b, features = (torch.zeros(shape, dtype=dtype) for shape in shapes)
    return (
        lambda: edge_form.gather(y, a, b),
        lambda: edge_form.first(y, a, b, features, rev, [True] * 4),
        lambda: edge_form.second(y, a, b, features, rev, y, a, b, features, [True] * 4),
    )


def _density_product(lmax: int, channels: int, dtype: torch.dtype) -> tuple:
    """Features of order 3."""
    (index, coefficients, symmetric), d = _coupling(lmax, "cg"), (lmax + 1) ** 2
    paths = int(index[:, 3].max()) + 1
    shapes = ((1, d, channels), (1, 3, lmax + 1, channels), (paths, channels))
    x, weight, mix = (torch.zeros(shape, dtype=dtype) for shape in shapes)
    constants = (torch.zeros(1, dtype=torch.int64), index, coefficients, False, symmetric)
    return (
        lambda: density_product.values(x, weight, mix, *constants),
        lambda: density_product.first(x, weight, mix, x, *constants, [True] * 3),
        lambda: density_product.second(x, weight, mix, x, x, weight, mix, *constants, [True] * 4),
    )


def _coupling(lmax: int, product: str) -> SparseTensor:
    tensor = natural_coupling(lmax, product)
    assert tensor is not None, f"{product} is bilinear"
    return tensor
