"""Weighted powers of atomic densities in one pass over the channels: compiled operators only.

P_1 = A, P_k = P_{k-1} (x) A with a sparse tensor T. Its reference is nn.DensityProduct and nn.DensityInvariants in
plain torch; the compiled ones (csrc/ops/density_product.inl) may be differentiated twice.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class SparseTensor(NamedTuple):
    """T (d, d, d) as `channel_product.sparse_entries` lays it out; symmetric in its first two slots or not."""

    index: Tensor
    coefficients: Tensor
    symmetric: bool


def density_features(x: Tensor, weight: Tensor, species: Tensor, tensor: SparseTensor) -> Tensor:
    """B_m = sum_k w_{z,k,l(m)} P_k,m: (n, d, C) of x (n, d, C), weight (elements, order, degrees, C), species (n,)."""
    return torch.ops.equitensor.density_product(
        x, weight, species, tensor.index, tensor.coefficients, False, tensor.symmetric
    )


def density_invariants(x: Tensor, weight: Tensor, species: Tensor, tensor: SparseTensor) -> Tensor:
    """w_{z,1} A_00 + sum_k w_{z,k} sum_m P_a,m P_b,m with a + b = k, a <= b: (n, C); weight (elements, order, C)."""
    found = torch.ops.equitensor.density_product(
        x, weight.unsqueeze(2), species, tensor.index, tensor.coefficients, True, tensor.symmetric
    )
    return found.squeeze(1)
