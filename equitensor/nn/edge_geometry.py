"""Directions and lengths of edges as what the layers take: spherical harmonics, radial functions."""

from torch import Tensor, nn

from equitensor.nn.harmonics import SphericalHarmonics
from equitensor.nn.radial_basis import RadialBasis
from equitensor.ops.availability import has_kernel
from equitensor.ops.edge_geometry import edge_geometry, raising_entries


class EdgeGeometry(nn.Module):
    """Y_lm(r/d), 'component' normalisation, b_n(d) and u(d/c) b_n(d) of edge vectors r (e, 3), none of them zero.

    Args: cutoff c in Angstrom; lmax; num_radial Bessel functions b_n. Returns (e, (lmax+1)^2), twice (e, num_radial);
    `RadialBasis` says what the last two are for.
    """

    def __init__(self, cutoff: float, lmax: int, num_radial: int) -> None:
        super().__init__()
        self.basis = RadialBasis(cutoff, num_radial)
        self.harmonics = SphericalHarmonics(lmax)
        tables = [self.harmonics.table(f"raising_{l}") for l in range(lmax)]
        self.index, self.coefficients = raising_entries(tables)  # for the CPU, in float64, whatever the module is in

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if has_kernel(vectors):
            sizes = (self.basis.cutoff, self.basis.num, self.harmonics.lmax)
            return edge_geometry(vectors, *sizes, self.index, self.coefficients)
        distance = vectors.norm(dim=1, keepdim=True)
        return self.harmonics(vectors / distance), *self.basis(distance.squeeze(1))
