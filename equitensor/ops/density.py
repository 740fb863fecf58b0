"""The density of messages on the atoms: sum over neighbours of message times spherical harmonics."""

import torch
from torch import Tensor


def density(messages: Tensor, harmonics: Tensor) -> Tensor:
    """A[i, lm, c] = sum_k messages[i, k, l, c] harmonics[i, k, lm], over the neighbour slots k of atom i.

    messages (n, width, L+1, C), harmonics (n, width, (L+1)^2), zero in the empty slots -> (n, (L+1)^2, C).
    """
    # split and unbind, not slices: the derivative of a slice fills an array of zeros, that of a split does not
    by_degree = harmonics.split([2 * l + 1 for l in range(messages.shape[2])], dim=2)
    parts = [torch.bmm(y.transpose(1, 2), m) for y, m in zip(by_degree, messages.unbind(2), strict=True)]
    return torch.cat(parts, dim=1)
