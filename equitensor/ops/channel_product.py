"""z_k = sum over i, j of T_ijk x_i y_j, channel by channel, for a sparse tensor T.

In plain torch the same map is faster on a quadrature grid or as small matrix products (`direct_product`): layers take
those where there is no kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.cuda import channel_product as on_gpu
from equitensor.ops.direct_product import OPERANDS
from equitensor.ops.operator import Kernel, define


def channel_product(x: Tensor, y: Tensor, index: Tensor, coefficients: Tensor, sizes: tuple[int, int, int]) -> Tensor:
    """(n, d3, C) of x (n, d1, C), y (n, d2, C) and the tables of `sparse_entries`; closed under differentiation."""
    return _product(x, y, index, coefficients, sizes, 2)


def sparse_entries(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of T (d1, d2, d3), float64, as `sort_entries` lays them out, all of one path."""
    places = tensor.nonzero()
    columns = torch.cat([places, places.new_zeros(len(places), 1)], dim=1)
    return sort_entries(columns, tensor[tuple(places.T)])


def sort_entries(columns: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Entries (t, 4) of i, j, k, path with their values (t,), sorted for each slot.

    Returns index (3, 4, t) int32, for each slot result, first and second operand and path, sorted by result, first
    operand and path; and coefficients (3, t) float64.
    """
    index, coefficients = [], []
    for slot, (first, second) in enumerate(OPERANDS):
        ordered = columns[:, [slot, first, 3, second]]
        base = int(columns.max()) + 1 if len(columns) else 1
        order = (ordered * base ** torch.arange(3, -1, -1)).sum(dim=1).argsort()
        index.append(ordered[order][:, [0, 1, 3, 2]].T)
        coefficients.append(values[order])
    return torch.stack(index).to(torch.int32).contiguous(), torch.stack(coefficients).contiguous()


_PRODUCT = Kernel("channel_product", sizes=7, arrays=5)


def check_tables(name: str, index: Tensor, coefficients: Tensor) -> int:
    """The number of entries; RuntimeError unless they are laid out as by `sort_entries`."""
    entries = index.shape[-1]
    known = index.dtype == torch.int32 and coefficients.dtype == torch.float64
    if not known or index.shape != (3, 4, entries) or coefficients.shape != (3, entries):
        raise RuntimeError(
            f"{name}: a product needs index (3, 4, t) int32 and coefficients (3, t) float64, got {list(index.shape)} "
            f"{index.dtype} and {list(coefficients.shape)} {coefficients.dtype}"
        )
    return entries


def _check(x, y, index, coefficients, sizes, slot) -> int:
    """The number of entries; RuntimeError unless these are what a kernel can read."""
    entries = check_tables("channel_product", index, coefficients)
    first, second = (sizes[operand] for operand in OPERANDS[slot])
    if x.dim() != 3 or x.shape[1] != first:
        raise RuntimeError(f"channel_product: x has shape {list(x.shape)}, expected (n, {first}, channels)")
    items, _, channels = x.shape
    if y.shape != (items, second, channels) or y.dtype != x.dtype:
        raise RuntimeError(
            f"channel_product: y is {list(y.shape)} {y.dtype}, expected {[items, second, channels]} {x.dtype}"
        )
    return entries


def _on_gpu(x, y, index, coefficients, sizes, slot):
    _check(x, y, index, coefficients, sizes, slot)
    return on_gpu.product(x, y, index, coefficients, sizes, slot)


def _on_core(x, y, index, coefficients, sizes, slot):
    entries = _check(x, y, index, coefficients, sizes, slot)
    x, y, index, coefficients = x.contiguous(), y.contiguous(), index.contiguous(), coefficients.contiguous()
    items, _, channels = x.shape
    z = x.new_empty(items, sizes[slot], channels)
    _PRODUCT(x.dtype, (items, channels, slot, *sizes, entries), (x, y, index, coefficients, z))
    return z


def _backward(arguments, needs, g):
    """The derivative in either operand is the same product into that operand's slot."""
    x, y, index, coefficients, sizes, slot = arguments
    known = dict(zip(OPERANDS[slot], (x, y), strict=True)) | {slot: g}
    gradients = []
    for to, need in zip(OPERANDS[slot], needs[:2], strict=True):
        first, second = (known[operand] for operand in OPERANDS[to])
        gradients.append(_product(first, second, index, coefficients, sizes, to) if need else None)
    return gradients


_product = define(
    "channel_product(Tensor x, Tensor y, Tensor index, Tensor coefficients, int[] sizes, int slot) -> Tensor",
    kernel=_on_core,
    fake=lambda x, y, index, coefficients, sizes, slot: x.new_empty(x.shape[0], sizes[slot], x.shape[2]),
    backward=_backward,
    reference=on_gpu.reference,
    on_gpu=_on_gpu,
    operands=2,
    proof=on_gpu.PROOF,
)
