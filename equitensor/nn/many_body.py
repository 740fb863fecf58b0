"""`ManyBody`: the equivariant product of a feature with itself, several times over."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.nn.layout import LAYOUTS, common_multiplicity, component_sizes, gather_channels, spread_channels
from equitensor.nn.product_contract import check_options
from equitensor.nn.product_families import many_body_class
from equitensor.o3.irreps import IrrepsLike, as_irreps

MOST_FACTORS = 4


class ManyBody(nn.Module):
    """z = sum over orders 1 to `correlation` of w x (x) ... (x) x, channel by channel, weights by element.

    All irreps share one multiplicity C. Weights, one parameter (element, path, C) for each order:

    - "cg": every symmetric coupling of the generalised Clebsch-Gordan basis, as MACE's symmetric contraction, each
      an independent path (Batatia et al., "MACE", NeurIPS 2022; `o3.symmetric_paths`);
    - "gaunt": powers of the function with coefficients x, one path per order and irrep of the output;
    - "cp": ((x (x) x) (x) x) ... with the tensor of Interaction's "cp", truncated to the irreps of x and of the
      output, one path per order and irrep of the output.

    Args:
        correlation: 1 to 4.
        layout: "flat" takes e3nn's (n, irreps.dim), "channels_last" (n, d, C).
        options: of the family; "cp": rank=, tolerance= or factors= as Interaction.
    Attributes:
        paths: for each order, ((irreps of x), irrep out) of each path, the former empty where all take part.
        weights: (element, path, C) for each order.
        flops: per atom.
    Raises:
        InputError: unequal multiplicities, an unknown product, layout or option, an irrep_out without any path.
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_out: IrrepsLike,
        correlation: int,
        num_elements: int,
        product: str = "cg",
        layout: str = "flat",
        **options: Any,
    ) -> None:
        super().__init__()
        family = many_body_class(product)
        check_options(family, product, options)
        if layout not in LAYOUTS:
            raise InputError(f"layout is {layout!r}: choose one of {', '.join(LAYOUTS)}")
        for name, value, most in (("correlation", correlation, MOST_FACTORS), ("num_elements", num_elements, None)):
            if not isinstance(value, int) or value < 1 or (most and value > most):
                raise InputError(f"{name} is {value!r}: give a whole number {f'from 1 to {most}' if most else '>= 1'}")
        self.irreps_in, self.irreps_out = as_irreps(irreps_in), as_irreps(irreps_out)
        self.product, self.layout = product, layout
        self.correlation, self.num_elements = correlation, num_elements
        self.channels = self._check_multiplicities()
        self.map = family(self.irreps_in, self.irreps_out, self.channels, correlation, **options)
        self.paths = tuple(map(tuple, self.map.paths))
        self._refuse_unreachable()
        self.sizes = [component_sizes(space) for space in (self.irreps_in, self.irreps_out)]
        self.flops = 2 * self.channels * self.map.multiplications()
        self.weights = nn.ParameterList(
            torch.randn(num_elements, len(scale), self.channels) * scale.to(torch.get_default_dtype())[:, None]
            for scale in self.map.initial_scale()
        )

    def forward(self, x: Tensor, element_index: Tensor) -> Tensor:
        """x (n, irreps_in.dim) or (n, d, C) in the chosen layout, element_index (n,) integers < num_elements."""
        self._check(x, element_index)
        if self.layout == "channels_last":
            return self.map(x, list(self.weights), element_index)
        features = gather_channels(x, self.channels, self.sizes[0])
        return spread_channels(self.map(features, list(self.weights), element_index), self.sizes[1])

    def extra_repr(self) -> str:
        counts = " + ".join(str(len(own)) for own in self.paths)
        return (
            f"{self.irreps_in} -> {self.irreps_out}, correlation={self.correlation}, "
            f"num_elements={self.num_elements}, product={self.product!r}, layout={self.layout!r}, "
            f"{counts} paths, {sum(w.numel() for w in self.weights)} weights, {self.flops} flops per atom, "
            f"{self.map.describe()}"
        )

    def _check_multiplicities(self) -> int:
        counts = {name: common_multiplicity(getattr(self, name), name) for name in ("irreps_in", "irreps_out")}
        if len(set(counts.values())) != 1:
            raise InputError(f"the multiplicities differ ({counts}): a ManyBody product needs one for all irreps")
        return counts["irreps_in"]

    def _refuse_unreachable(self) -> None:
        reached = {ir for own in self.paths for _, ir in own}
        for _, ir in self.irreps_out:
            if ir not in reached:
                reason = self.map.refusal(ir)
                raise InputError(
                    f"product={self.product!r} cannot make {ir} of irreps_out from up to {self.correlation} factors "
                    f"of {self.irreps_in}: {reason}"
                )

    def _check(self, x: Tensor, element_index: Tensor) -> None:
        d = sum(self.sizes[0])
        expected = (d * self.channels,) if self.layout == "flat" else (d, self.channels)
        if tuple(x.shape[1:]) != expected:
            raise InputError(f"x has shape {tuple(x.shape)}: ManyBody expects (n, {', '.join(map(str, expected))})")
        own = self.weights[0]
        if (x.dtype, x.device) != (own.dtype, own.device) and not torch.is_autocast_enabled(x.device.type):
            raise InputError(f"x is {x.dtype} on {x.device}, the ManyBody layer {own.dtype} on {own.device}")
        if element_index.shape != x.shape[:1] or element_index.is_floating_point():
            shape = tuple(element_index.shape)
            raise InputError(f"element_index is {element_index.dtype} {shape}: ManyBody expects whole ({len(x)},)")
        low, high = map(int, element_index.aminmax()) if len(x) else (0, 0)
        if not 0 <= low <= high < self.num_elements:
            raise InputError(
                f"element_index runs from {low} to {high}: ManyBody has elements 0 to {self.num_elements - 1}"
            )
