"""Real spherical harmonics as homogeneous polynomials: no division, no pole, smooth everywhere."""

import torch
from torch import Tensor


def spherical_harmonics(vectors: Tensor, raising: list[Tensor]) -> Tensor:
    """Y[e, lm] of vectors (e, 3), r^l Y_lm(r/|r|): unit vectors give the spherical harmonics.

    Y_{l+1} = (Y_l x r) raising[l], the coupling of Y_l with the vector to the highest degree.
    raising[l] (3 (2l+1), 2l+3) holds the coefficients in the wanted normalisation (o3.raising_tables);
    len(raising) is the highest degree L. Returns (e, (L+1)^2), degree after degree, m = -l..l, Y_00 = 1.
    """
    degree = torch.ones_like(vectors[:, :1])
    parts = [degree]
    for table in raising:
        degree = (degree.unsqueeze(2) * vectors.unsqueeze(1)).flatten(1) @ table
        parts.append(degree)
    return torch.cat(parts, dim=1)
