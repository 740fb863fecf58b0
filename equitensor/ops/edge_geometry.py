"""What edge vectors are turned into, in one operator: harmonics of their direction, Bessel functions of their length.

The compiled operator (csrc/ops/edge_geometry.inl) computes in float64 whatever it is given and may be differentiated
twice; its reference is `spherical_harmonics`, `bessel` and `envelope`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def edge_geometry(
    vectors: Tensor, cutoff: float, num_radial: int, lmax: int, index: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Y_lm(r/d) (e, (lmax+1)^2), b_n(d) (e, num_radial) and u(d/cutoff) b_n(d) of vectors r (e, 3), none of them zero.

    index and coefficients: of `raising_entries`.
    """
    return torch.ops.equitensor.edge_geometry(vectors, cutoff, num_radial, lmax, index, coefficients)


def raising_entries(tables: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The entries of raising tables (o3.raising_tables): index (3, t) int32, rows out, in, axis; coefficients (t,).

    Y_out is the sum of coefficient Y_in r_axis, where components run over all degrees.
    """
    index, coefficients = [], []
    for l, table in enumerate(tables):
        found = table.view(2 * l + 1, 3, 2 * l + 3).permute(2, 0, 1)
        out, source, axis = found.nonzero().T
        index.append(torch.stack([(l + 1) ** 2 + out, l**2 + source, axis]))
        coefficients.append(found[out, source, axis])
    if not tables:
        return torch.zeros(3, 0, dtype=torch.int32), torch.zeros(0, dtype=torch.float64)
    return torch.cat(index, dim=1).to(torch.int32).contiguous(), torch.cat(coefficients).contiguous()
