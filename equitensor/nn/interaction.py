"""`Interaction`: the equivariant product of two features of the same atom (or of anything)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.nn.layout import LAYOUTS, common_multiplicity, component_sizes, gather_channels, spread_channels
from equitensor.nn.product_contract import FlatInteractionMap, check_options
from equitensor.nn.product_families import interaction_class
from equitensor.o3.irreps import IrrepsLike, as_irreps


class Interaction(nn.Module):
    """z = x (x) y, channel by channel, with paths summed into irreps_out; all irreps have the same multiplicity C.

    Weights (weight_numel,), or one set per item (..., weight_numel):

    - "cg": (path, C), the map of e3nn's TensorProduct with `instructions` ("uuu", otherwise default arguments);
    - "gaunt": w_l1 | w_l2 | w_l3, each (degree, C): z = w_l3 sum G (w_l1 x) (w_l2 y), G the Gaunt tensor;
    - "cp": (C,), shared by all paths: z = w sum c_p W^p x y, W^p the Wigner 3j of path p.

    Args:
        product: "cg", "gaunt", "cp", or one from an installed package (`product_families`).
        layout: "flat" for e3nn's (..., irreps.dim), "channels_last" for (..., d, C).
        internal_weights: keep the weights as the parameter `weight`. If False and the call has no weight, all weights
            are one.
        options: of the family. "cg": form="paths", "low_rank" or "dense" selects the algorithm. "gaunt": paths="all"
            includes the odd paths, by the Poisson bracket of true and pseudo signals (default "even": without them);
            form="grid", "fourier" or "direct" selects the algorithm. "cp": by default the exact product with the fewest
            rows, whose c_p are near one in magnitude (`map.path_weights`); or one of rank= (the shipped factors of all
            paths with c_p = 1: 7 lmax^2 is TDN's layer, with an error of a few percent, made equivariant under
            inversion by `o3.cp.on_parities`; 8, 30, 90 are exact), tolerance= (the lowest shipped rank with a coupling
            error within it), factors= (from `o3.fit_cp`).
    Attributes:
        paths: the (ir1, ir2, ir_out) that the product contains, each an e3nn Irrep, which equals its (l, p).
        instructions: (i1, i2, i_out, "uuu", True), in the order of the cg weights, sorted by i_out.
    Raises:
        InputError: unequal multiplicities, an unknown product, layout or option, an irrep of irreps_out without a path.
    """

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        irreps_out: IrrepsLike,
        product: str = "cg",
        layout: str = "flat",
        internal_weights: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        family = interaction_class(product)
        check_options(family, product, options)
        if layout not in LAYOUTS:
            raise InputError(f"layout is {layout!r}: choose one of {', '.join(LAYOUTS)}")
        self.product, self.layout = product, layout
        irreps = tuple(map(as_irreps, (irreps_in1, irreps_in2, irreps_out)))
        self.irreps_in1, self.irreps_in2, self.irreps_out = irreps
        self.channels = self._check_multiplicities()
        self.map = family(*irreps, self.channels, **options)
        self.sizes = [component_sizes(space) for space in irreps]
        self.weight_numel = self.map.weight_numel
        self.instructions = self.map.instructions
        self.paths = path_irreps(self.instructions, *irreps)
        self.weight = nn.Parameter(self.map.initial_weight()) if internal_weights else None

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """x, y in the layout of the layer; weight (weight_numel,) or (..., weight_numel), None for the internal one."""
        self._check_shapes(x, y, weight)
        weight = self.weight if weight is None else weight
        if self.layout == "channels_last":
            return self.map(x, y, weight)
        if isinstance(self.map, FlatInteractionMap) and self.map.by_paths:
            return self.map.of_rows(x, y, weight)
        first = gather_channels(x, self.channels, self.sizes[0])
        same = y is x and self.sizes[0] == self.sizes[1]
        second = first if same else gather_channels(y, self.channels, self.sizes[1])
        return spread_channels(self.map(first, second, weight), self.sizes[2])

    def powers(self, x: Tensor, order: int, weight: Tensor | None = None) -> list[Tensor]:
        """[x, x (x) x, (x (x) x) (x) x, ...] to `order` factors, each truncated to the irreps of x.

        "gaunt" evaluates x on the grid once for all of them.

        Raises:
            InputError: unless irreps_in1, irreps_in2 and irreps_out are the same.
        """
        if not self.irreps_in1 == self.irreps_in2 == self.irreps_out:
            raise InputError("powers need the same irreps for both operands and the output")
        self._check_shapes(x, x, weight)
        weight = self.weight if weight is None else weight
        if self.layout == "channels_last":
            return self.map.powers(x, order, weight)
        terms = self.map.powers(gather_channels(x, self.channels, self.sizes[0]), order, weight)
        return [spread_channels(term, self.sizes[2]) for term in terms]

    def extra_repr(self) -> str:
        return (
            f"{self.irreps_in1} x {self.irreps_in2} -> {self.irreps_out}, "
            f"product={self.product!r}, layout={self.layout!r}, {self.map.describe()}"
        )

    def _check_multiplicities(self) -> int:
        names = ("irreps_in1", "irreps_in2", "irreps_out")
        counts = {name: common_multiplicity(getattr(self, name), name) for name in names}
        if len(set(counts.values())) != 1:
            raise InputError(f"the multiplicities differ ({counts}): an Interaction needs one for all irreps")
        return counts["irreps_in1"]

    def _check_shapes(self, x: Tensor, y: Tensor, weight: Tensor | None) -> None:
        for name, value, sizes in (("x", x, self.sizes[0]), ("y", y, self.sizes[1])):
            flat = (sum(sizes) * self.channels,)
            expected = flat if self.layout == "flat" else (sum(sizes), self.channels)
            if tuple(value.shape[-len(expected) :]) != expected:
                raise InputError(f"{name} has shape {tuple(value.shape)}: expected (..., {_join(expected)})")
        if weight is not None and weight.shape[-1] != self.weight_numel:
            raise InputError(f"weight has {weight.shape[-1]} entries: expected {self.weight_numel}")


def path_irreps(instructions, irreps1, irreps2, irreps_out) -> tuple:
    """The (ir1, ir2, ir_out) of each instruction."""
    return tuple((irreps1[i].ir, irreps2[j].ir, irreps_out[k].ir) for i, j, k, *_ in instructions)


def _join(shape: tuple) -> str:
    return ", ".join(map(str, shape))
