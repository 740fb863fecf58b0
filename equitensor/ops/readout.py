"""The read-out of atomic features along edges, the transpose of the density."""

import torch
from torch import Tensor


def readout(features: Tensor, harmonics: Tensor) -> Tensor:
    """g[i, k, l, c] = sum_m features[i, lm, c] harmonics[i, k, lm], for the neighbour slots k of atom i.

    features (n, (L+1)^2, C), harmonics (n, width, (L+1)^2) -> (n, width, L+1, C). Along the edges that leave i
    instead of those that arrive, the directions turn round: a factor (-1)^l.
    """
    degrees = [2 * l + 1 for l in range(round(harmonics.shape[2] ** 0.5))]
    pairs = zip(harmonics.split(degrees, dim=2), features.split(degrees, dim=1), strict=True)
    return torch.stack([torch.bmm(y, f) for y, f in pairs], dim=2)
