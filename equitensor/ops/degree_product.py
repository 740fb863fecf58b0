"""Scalar products of features, degree by degree."""

import torch
from torch import Tensor


def degree_product(x: Tensor, y: Tensor, average: Tensor) -> Tensor:
    """s[n, l, c] = 1/(2l+1) sum_m x[n, lm, c] y[n, lm, c]: invariant under rotation and reflection.

    x, y (n, (L+1)^2, C); average (L+1, (L+1)^2), rows of 1/(2l+1) at the components of degree l -> (n, L+1, C).
    """
    product = x * y
    return torch.bmm(average.expand(len(product), -1, -1), product)
