"""Two layouts of one feature: e3nn's flat (..., irreps.dim) and channels-last (..., d, C).

Flat is multiplicity-major per irrep (`mul_ir`): all 2l + 1 components of the first copy, then of the second.
Channels-last needs one common multiplicity C; d is the sum of 2l + 1, irrep after irrep, and the C copies of a
component lie beside each other. "2x0e+2x1o" flat: s s xyz xyz; channels-last, row by row: s s | x x | y y | z z.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.o3.irreps import IrrepsLike, as_irreps

LAYOUTS = ("flat", "channels_last")


def to_channels_last(x: Tensor, irreps: IrrepsLike) -> Tensor:
    """e3nn's flat layout (..., irreps.dim) to channels-last (..., d, C); any dtype and device.

    >>> to_channels_last(torch.zeros(5, 32), "8x0e+8x1o").shape
    torch.Size([5, 4, 8])

    Raises:
        InputError: irreps of different multiplicities, or a last dimension that does not fit them.
    """
    channels, sizes, text = _plain_numbers(irreps)
    check_shape("to_channels_last", "x", x, (channels * sum(sizes),), f"{text}, layout flat")
    return gather_channels(x, channels, list(sizes))


def to_flat(x: Tensor, irreps: IrrepsLike) -> Tensor:
    """Channels-last (..., d, C) to e3nn's flat layout (..., irreps.dim); any dtype and device.

    >>> to_flat(torch.zeros(5, 4, 8), "8x0e+8x1o").shape
    torch.Size([5, 32])

    Raises:
        InputError: irreps of different multiplicities, or last two dimensions that do not fit them.
    """
    channels, sizes, text = _plain_numbers(irreps)
    check_shape("to_flat", "x", x, (sum(sizes), channels), f"{text}, layout channels_last")
    return spread_channels(x, list(sizes))


@torch.compiler.assume_constant_result
def _plain_numbers(irreps) -> tuple[int, tuple[int, ...], str]:
    """C, the 2l + 1 and the text of irreps; torch.compile, which cannot follow Irreps, takes them as they are."""
    irreps = as_irreps(irreps)
    return common_multiplicity(irreps), tuple(component_sizes(irreps)), str(irreps)


def common_multiplicity(irreps, name: str = "irreps") -> int:
    """C of "Cx0e+Cx1o+...".

    Raises:
        InputError: when there is no irrep or the multiplicities differ.
    """
    multiplicities = {mul for mul, _ in irreps}
    if len(multiplicities) != 1 or 0 in multiplicities:
        raise InputError(f"{name} is '{irreps}': give every irrep the same multiplicity, such as 64x0e+64x1o")
    return multiplicities.pop()


def component_sizes(irreps) -> list[int]:
    """2l + 1 of each irrep as plain integers, which torch.compile can follow where it cannot follow Irreps."""
    return [ir.dim for _, ir in irreps]


def gather_channels(x: Tensor, channels: int, sizes: list[int]) -> Tensor:
    """`to_channels_last` with sizes as plain integers."""
    blocks = x.split([channels * size for size in sizes], dim=-1)
    parts = [b.unflatten(-1, (channels, size)).transpose(-1, -2) for b, size in zip(blocks, sizes, strict=True)]
    return torch.cat(parts, dim=-2)


def spread_channels(x: Tensor, sizes: list[int]) -> Tensor:
    """`to_flat` with sizes as plain integers."""
    return torch.cat([b.transpose(-1, -2).flatten(-2) for b in x.split(sizes, dim=-2)], dim=-1)


def split_irreps(x: Tensor, counts: list[int], sizes: list[int], layout: str) -> list[Tensor]:
    """A feature cut into one (..., 2l + 1, mul) per irrep, whatever its layout; counts are the multiplicities."""
    if layout == "channels_last":
        return list(x.split(sizes, dim=-2))
    blocks = x.split([count * size for count, size in zip(counts, sizes, strict=True)], dim=-1)
    return [
        b.unflatten(-1, (count, size)).transpose(-1, -2) for b, count, size in zip(blocks, counts, sizes, strict=True)
    ]


def join_irreps(blocks: list[Tensor], layout: str) -> Tensor:
    """The inverse of `split_irreps`."""
    if layout == "channels_last":
        return torch.cat(blocks, dim=-2)
    return torch.cat([b.transpose(-1, -2).flatten(-2) for b in blocks], dim=-1)


def feature_shape(irreps, layout: str, name: str = "irreps") -> tuple[int, ...]:
    """The last dimensions of a feature: (irreps.dim,), or (d, C) for channels-last.

    Raises:
        InputError: an unknown layout; for channels-last, multiplicities that differ.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout is {layout!r}: choose one of {', '.join(LAYOUTS)}")
    if layout == "flat":
        return (irreps.dim,)
    return sum(component_sizes(irreps)), common_multiplicity(irreps, name)


def check_shape(layer: str, name: str, x: Tensor, expected: tuple[int, ...], meaning: str) -> None:
    """Raise InputError unless the last dimensions of x are the expected ones."""
    if tuple(x.shape[-len(expected) :]) != expected:
        wanted = ", ".join(map(str, expected))
        raise InputError(f"{layer}: {name} has shape {tuple(x.shape)}, expected (..., {wanted}) for {meaning}")


def check_kind(layer: str, x: Tensor, weight: Tensor) -> None:
    """Raise InputError where x and the weights differ in dtype or device, unless autocast sees to it."""
    if (x.dtype, x.device) == (weight.dtype, weight.device) or torch.is_autocast_enabled(x.device.type):
        return
    raise InputError(
        f"{layer}: x is {x.dtype} on {x.device}, its weights are {weight.dtype} on {weight.device}: "
        "convert one of them with .to(...)"
    )
