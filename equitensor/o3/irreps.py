"""The one place that imports e3nn, for its `Irrep` and `Irreps`.

e3nn 0.4.4 (which MACE pins) reads its constants at import with `torch.load`, and torch >= 2.6 then refuses
the `slice` objects in them; they are allowed for the length of this import only.
"""

from __future__ import annotations

import torch

with torch.serialization.safe_globals([slice]):
    from e3nn.o3 import Irrep, Irreps

__all__ = ["Irrep", "Irreps"]
