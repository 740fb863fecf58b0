"""The CP family: all paths in one tensor, decomposed into R products, with one weight per channel for all paths.

Lin et al., "Tensor decomposition networks for fast machine learning interatomic potential computations", NeurIPS
2025. Their layer has rank 7 lmax^2, which is below the rank of the tensor: `rank=` gives it with its errors. With
every irrep labelled even ("64x0e+64x1e") it is as published, SO(3) only; with both parities a second evaluation makes
inversion exact, while rotations keep the error. The default is exact and exactly equivariant under O(3).
"""

from __future__ import annotations

import math
from abc import ABC
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from equitensor.nn.layout import common_multiplicity
from equitensor.nn.product_contract import ConvolutionMap, InteractionMap
from equitensor.nn.tables import Tables
from equitensor.o3 import find_paths
from equitensor.o3.cp import measure_errors
from equitensor.o3.cp_grid import cp_product
from equitensor.ops.contraction import transform
from equitensor.ops.grid_convolution import grid_convolution

MEASURED_IN_REPR = 10**8  # multiply-adds; only quadrature grids of high degree cost more


class CPTables(Tables, ABC):
    """The three matrices of the layer and what is known about them.

    Args:
        rank, tolerance, factors: as `o3.cp_grid.cp_product`.
    Attributes:
        coupling_error, equivariance_error: of the layer's own tensor, measured when first asked for.
        path_weights: (P,) c_p of the paths in `indices`, float64.
    """

    def __init__(self, irreps1, irreps2, irreps_out, channels: int, mode: str, rank, tolerance, factors) -> None:
        super().__init__()
        self.indices = find_paths("cp", irreps1, irreps2, irreps_out)
        self.instructions = [(*index, mode, True) for index in self.indices]
        self.channels = self.weight_numel = channels
        self.spaces = tuple(type(irreps1)([(1, ir) for _, ir in space]) for space in (irreps1, irreps2, irreps_out))
        self.product = cp_product(self.spaces, rank, tolerance, factors)
        self.path_weights = self.product.path_weights
        self.same_factors = torch.equal(self.product.a, self.product.b)

    @cached_property
    def errors(self) -> tuple[float, float]:
        return measure_errors(self.product[:3], self.spaces, self.path_weights)

    @property
    def coupling_error(self) -> float:
        return self.errors[0]

    @property
    def equivariance_error(self) -> float:
        return self.errors[1]

    def described(self, per: str = "") -> str:
        """Paths, weights, rank and errors."""
        rows, source = len(self.product.a), self.product.source
        rank = source if source == f"rank {rows}" else f"rank {rows} ({source})"
        errors = "exact by quadrature"
        if rows * math.prod(space.dim for space in self.spaces) <= MEASURED_IN_REPR:
            errors = f"coupling error {self.coupling_error:.1e}, equivariance error {self.equivariance_error:.1e}"
        return f"{len(self.indices)} paths, {self.weight_numel} weights{per}, {rank}, {errors}"


@final
class CPInteraction(CPTables, InteractionMap):
    """z = w sum over paths of c_p W^p x y on channels-last features, W the Wigner 3j, w (C,) shared by all paths."""

    bilinear = weighted_by_path = True

    def __init__(self, irreps1, irreps2, irreps_out, channels: int, rank=None, tolerance=None, factors=None) -> None:
        super().__init__(irreps1, irreps2, irreps_out, channels, "uuu", rank, tolerance, factors)
        for name in ("a", "b", "c"):
            self.add_table(name, getattr(self.product, name))

    def initial_weight(self) -> Tensor:
        """The same for all channels: outputs of unit variance, averaged over components, for such inputs."""
        scale = math.sqrt(self.spaces[2].dim) / float(self.path_weights.norm())
        return torch.full((self.channels,), scale)

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """(..., d1, C), (..., d2, C), weight (C,) or (..., C) or None for ones: (..., d3, C)."""
        first = transform(self.a, x)
        second = first if y is x and self.same_factors else transform(self.b, y)
        return self._back(first * second, weight)

    def powers(self, x: Tensor, order: int, weight: Tensor | None) -> list[Tensor]:
        """x, x (x) x, (x (x) x) (x) x ... up to `order` factors; x is transformed once."""
        terms = [x]
        if order < 2:
            return terms
        factor = transform(self.b, x)
        while len(terms) < order:
            reuse = len(terms) == 1 and self.same_factors
            values = factor if reuse else transform(self.a, terms[-1])
            terms.append(self._back(values * factor, weight))
        return terms

    def _back(self, values: Tensor, weight: Tensor | None) -> Tensor:
        z = transform(self.c.T, values)
        return z if weight is None else z * weight.unsqueeze(-2)

    def describe(self) -> str:
        return self.described()


@final
class CPConvolution(CPTables, ConvolutionMap):
    """z_i = sum over edges j -> i of w_ij sum_p c_p W^p x_j y_ij, transformed once per node.

    edge_weight (channel,): one weight for all paths. One output slot of C channels per irrep.
    """

    def __init__(self, irreps_in, irreps_edge, irreps_out, rank=None, tolerance=None, factors=None) -> None:
        wanted, channels = irreps_out.sort().irreps.simplify(), common_multiplicity(irreps_in, "irreps_in")
        super().__init__(irreps_in, irreps_edge, wanted, channels, "uvu", rank, tolerance, factors)
        self.irreps_out = type(irreps_in)([(channels, ir) for _, ir in wanted])
        self.add_table("a", self.product.a)
        self.add_table("b", self.product.b.T.contiguous())
        self.add_table("c", self.product.c)

    def forward(self, x: Tensor, edge_attr: Tensor, edge_weight: Tensor, edge_index: Tensor) -> Tensor:
        """Channels-last (n, d1, C) to (n, d3, C)."""
        return grid_convolution(x, edge_attr, edge_weight.unsqueeze(1), edge_index, self.a, self.b, self.c)

    def describe(self) -> str:
        return self.described(" per edge")
