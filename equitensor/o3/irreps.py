"""The one place that imports e3nn, for its `Irrep` and `Irreps`, and only when they are first needed.

e3nn 0.4.4 (which MACE pins) reads its constants at import with `torch.load`, and torch >= 2.6 then refuses
the `slice` objects in them; they are allowed for the length of this import only.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeAlias, Union

import torch

from equitensor.errors import InputError

if TYPE_CHECKING:
    from e3nn.o3 import Irrep, Irreps

# With Union they are types at run time too, which "| None" can follow.
IrrepLike: TypeAlias = Union[str, tuple[int, int], "Irrep"]
IrrepsLike: TypeAlias = Union[str, "Irreps", "Irrep", Sequence[Union[str, tuple[int, IrrepLike], "Irrep"]]]


def as_irreps(irreps: IrrepsLike) -> Irreps:
    """e3nn `Irreps` of a string such as "64x0e+64x1o", or of anything else that e3nn takes.

    Raises:
        InputError: for text that is not a list of irreps.
    """
    try:
        return _e3nn().Irreps(irreps)
    except (ValueError, AssertionError) as error:
        raise InputError(f"{irreps!r} is not a list of irreps: write it as '64x0e+64x1o'") from error


def __getattr__(name: str):
    if name in ("Irrep", "Irreps"):
        return getattr(_e3nn(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _e3nn():
    allow = getattr(torch.serialization, "safe_globals", None)  # torch < 2.5 has neither this nor the refusal
    with allow([slice]) if allow else nullcontext():
        from e3nn import o3
    return o3
