"""Distances expanded in spherical Bessel functions of several degrees, the radial part of DimeNet's angular basis."""

import math

from torch import Tensor

from equitensor.nn.tables import Tables
from equitensor.o3.spherical_bessel import bessel_splines
from equitensor.ops.spline import spline


class SphericalBesselBasis(Tables):
    """sqrt((2l+1) / 4 pi) sqrt(2) / |j_{l+1}(z_ln)| j_l(z_ln d / c), l = 0..lmax, n = 1..num: (e,) -> (e, lmax+1, num).

    Times P_l(cos a) they are DimeNet's two-dimensional basis a_ln(d, a), without its c^(-3/2) and its envelope.
    Distances in Angstrom; smooth at d = 0 and right to rounding there, in float32 as well. Constant beyond the cutoff.
    """

    def __init__(self, cutoff: float, lmax: int = 6, num: int = 6) -> None:
        super().__init__()
        self.cutoff, self.lmax, self.num = cutoff, lmax, num
        table = bessel_splines(lmax, num).clone()
        for l in range(lmax + 1):
            table[:, l * num : (l + 1) * num] *= math.sqrt((2 * l + 1) / (4 * math.pi))
        self.add_table("coefficients", table)

    def forward(self, distance: Tensor) -> Tensor:
        return spline(distance / self.cutoff, self.coefficients).unflatten(1, (self.lmax + 1, self.num))

    def extra_repr(self) -> str:
        return f"cutoff={self.cutoff}, lmax={self.lmax}, num={self.num}"
