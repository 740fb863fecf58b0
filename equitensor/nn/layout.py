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
    channels = common_multiplicity(irreps)
    widths = [mul * ir.dim for mul, ir in irreps]
    blocks = x.split(widths, dim=-1)
    return torch.cat([b.unflatten(-1, (channels, -1)).transpose(-1, -2) for b in blocks], dim=-2)


def to_flat(x: Tensor, irreps) -> Tensor:
    """(..., d, C) -> (..., irreps.dim)."""
    blocks = x.split([ir.dim for _, ir in irreps], dim=-2)
    return torch.cat([b.transpose(-1, -2).flatten(-2) for b in blocks], dim=-1)
