"""Many-body products of the CP family: powers through the rows of a decomposed tensor, ((x (x) x) (x) x) ...

x is brought to the rows once; each further factor costs one transform of the partial product.
"""

from __future__ import annotations

import copy
from typing import final

import torch
from torch import Tensor

from equitensor.nn.cp import MEASURED_IN_REPR
from equitensor.nn.many_body_grid import add_places, same_irreps, unit_variance, weighted_sum
from equitensor.nn.product_contract import ManyBodyMap
from equitensor.o3.cp import measure_errors
from equitensor.o3.cp_grid import cp_product
from equitensor.o3.paths import refusal
from equitensor.ops.contraction import transform

VANISHING = 1e-10  # beside the largest component of the same order


@final
class CPPowers(ManyBodyMap):
    """z_l = sum over orders of w (h_order)_l with h_1 = x and h_(n+1) = C^T [(A h_n) * (B x)].

    One path per order and irrep. The partial products keep the irreps of x and of the output. Paths that vanish, such
    as antisymmetric ones of x with itself, are left out.

    Args:
        rank, tolerance, factors: as `o3.cp_grid.cp_product`; exactly equivariant without.
    Attributes:
        paths: for each order, ((), irrep out) of each weight.
    """

    def __init__(
        self, irreps_in, irreps_out, channels: int, correlation: int, rank=None, tolerance=None, factors=None
    ) -> None:
        super().__init__()
        irs, outs = [ir for _, ir in irreps_in], [ir for _, ir in irreps_out]
        kept = self._add_product(irs, outs, type(irreps_in), (rank, tolerance, factors))
        self.d_out = sum(ir.dim for ir in outs)
        self.paths = []
        for order, reached in enumerate([irs, *self._not_vanishing(kept, correlation)], start=1):
            slots = [slot for slot, ir in enumerate(outs) if ir in reached]
            self.paths.append([((), outs[slot]) for slot in slots])
            add_places(self, order, outs, slots)
            self.add_table(f"c_{order}", same_irreps(irs if order == 1 else kept, [outs[slot] for slot in slots]))

    def _add_product(self, irs: list, outs: list, irreps_type, options: tuple) -> list:
        """The CP tables of (any partial product) x (x) -> the irreps returned."""
        space = sorted({*irs, *outs})
        kept = [out for out in space if any(refusal(one, two, out) is None for one in space for two in irs)]
        self.product = None
        if kept:
            self.spaces = tuple(irreps_type([(1, ir) for ir in part]) for part in (space, irs, kept))
            self.product = cp_product(self.spaces, *options)
            a, b, c = self.product[:3]
            self.add_table("a_first", a @ same_irreps(irs, space))
            self.add_table("a", a @ same_irreps(kept, space))
            self.add_table("b", b)
            self.add_table("c", c.T.contiguous())
            self.same_factors = torch.equal(self.table("a_first"), b)
        return kept

    def _not_vanishing(self, kept: list, correlation: int) -> list[set]:
        """Irreps of h_2, h_3, ... that are not zero, tried on normal deviates."""
        if not kept or correlation == 1:
            return [set()] * (correlation - 1)
        x = torch.randn(
            1, self.table("b").shape[1], 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )
        nonzero = []
        for step in copy.deepcopy(self).double()._products(x, correlation):
            blocks = step.abs().amax(dim=(0, 2)).split([ir.dim for ir in kept])
            sizes = torch.stack([block.max() for block in blocks])
            present = sizes > VANISHING * sizes.max()
            nonzero.append({ir for ir, there in zip(kept, present.tolist(), strict=True) if there})
        return nonzero

    def _products(self, x: Tensor, correlation: int) -> list[Tensor]:
        """h_2, ... h_correlation."""
        factor = transform(self.b, x)
        values = factor if self.same_factors else transform(self.a_first, x)
        products = [transform(self.c, values * factor)]
        while len(products) < correlation - 1:
            products.append(transform(self.c, transform(self.a, products[-1]) * factor))
        return products

    def powers(self, x: Tensor) -> list[Tensor]:
        """The components of each order that have a path: x (n, d, C) to (n, d_order, C)."""
        orders = len(self.paths)
        products = self._products(x, orders) if orders > 1 and self.product else []
        products += [x[:, :0]] * (orders - 1 - len(products))
        return [transform(getattr(self, f"c_{order}"), step) for order, step in enumerate([x, *products], start=1)]

    def forward(self, x: Tensor, weights: list[Tensor], element_index: Tensor) -> Tensor:
        """x (n, d, C), a weight (elements, paths, C) for each order: (n, d_out, C)."""
        return weighted_sum(self, self.powers(x), weights, element_index, self.d_out)

    def initial_scale(self) -> list[Tensor]:
        """By order, (paths,): outputs of unit variance for normal deviates x."""
        return unit_variance(self, self.table("c_1").shape[1])

    def refusal(self, ir_out) -> str:
        """Why no order reaches an irrep."""
        return (
            "its only couplings are antisymmetric, forbidden by parity or degree, or pass through irreps that "
            "neither x nor the output has: product='cg' has every path"
        )

    def multiplications(self) -> int:
        """Per atom and channel."""
        orders = len(self.paths)
        if not self.product or orders == 1:
            return 0
        rows, d = self.product.b.shape
        return rows * (d + (orders - 1) * (self.product.a.shape[1] + self.product.c.shape[1] + 1))

    def describe(self) -> str:
        """Rank and errors."""
        if not self.product:
            return "no product of x reaches these irreps"
        rows = len(self.product.b)
        if rows * self.product.a.shape[1] * self.product.b.shape[1] > MEASURED_IN_REPR:
            return f"rank {rows}, exact by quadrature"
        errors = measure_errors(self.product[:3], self.spaces, self.product.path_weights)
        return f"rank {rows}, coupling error {errors[0]:.1e}, equivariance error {errors[1]:.1e}"
