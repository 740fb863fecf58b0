"""Spherical harmonics of edges as a layer, with the tables for its degree and dtype."""

from torch import Tensor

from equitensor.nn.tables import Tables
from equitensor.o3 import raising_tables
from equitensor.ops.spherical_harmonics import spherical_harmonics


class SphericalHarmonics(Tables):
    """Y_lm of unit vectors (e, 3) for l = 0..lmax, 'component' normalisation: (e, (lmax+1)^2)."""

    def __init__(self, lmax: int) -> None:
        super().__init__()
        self.lmax = lmax
        for l, table in enumerate(raising_tables(lmax, "component")):
            self.add_table(f"raising_{l}", table)

    def forward(self, vectors: Tensor) -> Tensor:
        """Unit vectors (e, 3) to harmonics (e, (lmax+1)^2)."""
        return spherical_harmonics(vectors, [getattr(self, f"raising_{l}") for l in range(self.lmax)])

    def extra_repr(self) -> str:
        return f"lmax={self.lmax}"
