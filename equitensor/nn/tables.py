"""Constant tables of a layer, rounded once per dtype from their float64 originals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn


class Tables(nn.Module):
    """A module whose named tables follow its device and dtype but are never stored in a state dict.

    `layer.float().double()` gives the float64 tables back: float32 constants cast up would be 3e-8 off.
    """

    def __init__(self) -> None:
        super().__init__()
        self._originals: dict[str, Tensor] = {}

    if TYPE_CHECKING:  # tables are tensors, layers modules: torch declares both as either

        def __getattr__(self, name: str) -> Any: ...

    def add_table(self, name: str, table: Tensor) -> None:
        """Register `table` (float64 or integer) as buffer `name`, float64 in the default dtype."""
        self._originals[name] = table
        dtype = torch.get_default_dtype() if table.is_floating_point() else table.dtype
        self.register_buffer(name, table.to(dtype), persistent=False)

    def table(self, name: str) -> Tensor:
        """The table as it was given, float64."""
        return self._originals[name]

    def _apply(self, fn, recurse: bool = True):
        super()._apply(fn, recurse)
        for name, original in self._originals.items():
            current = getattr(self, name)
            setattr(self, name, original.to(device=current.device, dtype=current.dtype))
        return self
