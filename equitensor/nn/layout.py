"""Two layouts of one feature: e3nn's flat (..., irreps.dim) and channels-last (..., d, C).

Flat is multiplicity-major per irrep (`mul_ir`). Channels-last needs one common multiplicity C; d is the sum
of 2l + 1, irrep after irrep.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.errors import InputError


def common_multiplicity(irreps, name: str = "irreps") -> int:
    """C of "Cx0e+Cx1o+...".

    Raises:
        InputError: when there is no irrep or the multiplicities differ.
    """
    multiplicities = {mul for mul, _ in irreps}
    if len(multiplicities) != 1 or 0 in multiplicities:
        raise InputError(f"{name} is '{irreps}': give every irrep the same multiplicity, such as 64x0e+64x1o")
    return multiplicities.pop()


def to_channels_last(x: Tensor, irreps) -> Tensor:
    """(..., irreps.dim) -> (..., d, C)."""
    return gather_channels(x, common_multiplicity(irreps), component_sizes(irreps))


def to_flat(x: Tensor, irreps) -> Tensor:
    """(..., d, C) -> (..., irreps.dim)."""
    return spread_channels(x, component_sizes(irreps))


def component_sizes(irreps) -> list[int]:
    """2l + 1 of each irrep: plain numbers, which torch.compile can follow where it cannot follow Irreps."""
    return [ir.dim for _, ir in irreps]


def gather_channels(x: Tensor, channels: int, sizes: list[int]) -> Tensor:
    """`to_channels_last` in plain numbers."""
    blocks = x.split([channels * size for size in sizes], dim=-1)
    parts = [b.unflatten(-1, (channels, size)).transpose(-1, -2) for b, size in zip(blocks, sizes, strict=True)]
    return torch.cat(parts, dim=-2)


def spread_channels(x: Tensor, sizes: list[int]) -> Tensor:
    """`to_flat` in plain numbers."""
    return torch.cat([b.transpose(-1, -2).flatten(-2) for b in x.split(sizes, dim=-2)], dim=-1)
