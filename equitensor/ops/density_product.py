"""Weighted powers of atomic densities in one pass over the channels: compiled operators only.

P_1 = A, P_k = P_{k-1} (x) A with a sparse tensor T. Its reference is nn.DensityProduct and nn.DensityInvariants in
plain torch; the compiled ones (csrc/ops/density_product.inl) may be differentiated twice.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.ops import extension
from equitensor.ops.cuda import density_product as on_gpu
from equitensor.ops.cuda.dispatch import implement

MOST_ENTRIES_ON_GPU = 400  # lmax 3; kernels for more take minutes to compile


class SparseTensor(NamedTuple):
    """T (paths, d, d, d) as `channel_product.sort_entries` lays it out; symmetric in its two operands or not."""

    index: Tensor
    coefficients: Tensor
    symmetric: bool


def compiled(x: Tensor, tensor: SparseTensor) -> bool:
    """Whether the compiled operators take these."""
    return extension.compiled(x, on_gpu=tensor.index.shape[2] <= MOST_ENTRIES_ON_GPU)


def density_features(x: Tensor, weight: Tensor, mix: Tensor | None, species: Tensor, tensor: SparseTensor) -> Tensor:
    """B_m = sum_k w_{z,k,l(m)} P_k,m: (n, d, C).

    x (n, d, C), weight (elements, order, degrees, C), mix (paths, C) the weights of the paths (None: ones), species
    (n,).
    """
    return torch.ops.equitensor.density_product(x, weight, mix, species, *tensor[:2], False, tensor.symmetric)


def density_invariants(x: Tensor, weight: Tensor, mix: Tensor | None, species: Tensor, tensor: SparseTensor) -> Tensor:
    """w_{z,1} A_00 + sum_k w_{z,k} sum_m P_a,m P_b,m with a + b = k, a <= b: (n, C); weight (elements, order, C)."""
    weight = weight.unsqueeze(2)
    found = torch.ops.equitensor.density_product(x, weight, mix, species, *tensor[:2], True, tensor.symmetric)
    return found.squeeze(1)


if extension.WHY_NOT is None:
    implement("density_product", 3, on_gpu.values)
    implement("density_first", 4, on_gpu.first)
    implement("density_second", 7, on_gpu.second)
