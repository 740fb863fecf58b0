"""`Convolution`: messages x_j (x) y_ij with weights per edge, summed at the receiver."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.nn.interaction import path_irreps
from equitensor.nn.layout import common_multiplicity, component_sizes, gather_channels, spread_channels
from equitensor.nn.product_contract import RadialConvolutionMap, check_options
from equitensor.nn.product_families import convolution_class
from equitensor.o3.irreps import IrrepsLike, as_irreps


class Convolution(nn.Module):
    """z_i = sum over edges j -> i of w_ij . (x_j (x) y_ij), in e3nn's flat layout.

    - "cg": e3nn's uvu map. o3.TensorProduct(irreps_in, irreps_edge, conv.irreps_out, conv.instructions,
      shared_weights=False, internal_weights=False) with gather and sum gives the same values. The output has one entry
      per path, sorted by irrep and not simplified; edge_weight is ordered by path, then channel.
    - "gaunt": one output entry of C channels per irrep, summed over paths; edge_weight (edge degree, C), ordered by
      degree, then channel; w_l1 and w_l3 are parameters (`map.w_l1`, `map.w_l3`).
    - "cp": outputs as "gaunt"; edge_weight (C,), shared by all paths: z = w sum c_p W^p x y.

    Args:
        irreps_in: any multiplicities for "cg", one common C for the others.
        irreps_edge: multiplicity 1, such as "0e+1o+2e".
        irreps_out: the irreps to compute; multiplicities follow from irreps_in.
        product: "cg", "gaunt", "cp", or one from an installed package.
        options: of the family, as in `Interaction`.
    Attributes:
        irreps_out: with multiplicities.
        instructions: plain tuples, as e3nn takes them.
        paths: the (ir1, ir2, ir_out) of the instructions.
        weight_numel: size of the weights of an edge.
    Raises:
        InputError: an irrep of irreps_out that no path reaches, wrong multiplicities, an unknown product or option.
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_edge: IrrepsLike,
        irreps_out: IrrepsLike,
        product: str = "cg",
        **options: Any,
    ) -> None:
        super().__init__()
        family = convolution_class(product)
        check_options(family, product, options)
        self.product = product
        self.irreps_in, self.irreps_edge, wanted = map(as_irreps, (irreps_in, irreps_edge, irreps_out))
        if not (self.irreps_in.dim and wanted.dim):
            raise InputError(f"irreps_in is '{self.irreps_in}', irreps_out '{wanted}': neither may be empty")
        if common_multiplicity(self.irreps_edge, "irreps_edge") != 1:
            raise InputError(f"irreps_edge is '{self.irreps_edge}': give multiplicity 1, such as 0e+1o+2e")
        self.flat = family.layout == "flat"
        self.channels = 0 if self.flat else common_multiplicity(self.irreps_in, "irreps_in")
        self.map = family(self.irreps_in, self.irreps_edge, wanted, **options)
        self.irreps_out = self.map.irreps_out
        self.widths = (self.irreps_in.dim, self.irreps_edge.dim)
        self.sizes = (component_sizes(self.irreps_in), component_sizes(self.irreps_out))
        self.weight_numel, self.instructions = self.map.weight_numel, self.map.instructions
        self.paths = path_irreps(self.instructions, self.irreps_in, self.irreps_edge, self.irreps_out)

    def forward(self, x: Tensor, edge_attr: Tensor, edge_weight: Tensor, edge_index: Tensor) -> Tensor:
        """(n, irreps_in.dim), (e, irreps_edge.dim), (e, weight_numel), (2, e) -> (n, irreps_out.dim)."""
        weight = (edge_weight, (edge_index.shape[-1], self.weight_numel))
        self._check_shapes(x, edge_attr, edge_index, edge_weight=weight)
        if self.flat:
            return self.map(x, edge_attr, edge_weight, edge_index)
        x = gather_channels(x, self.channels, self.sizes[0])
        return spread_channels(self.map(x, edge_attr, edge_weight, edge_index), self.sizes[1])

    def forward_radial(
        self, x: Tensor, edge_attr: Tensor, hidden: Tensor, matrix: Tensor, edge_index: Tensor
    ) -> Tensor:
        """The same as `forward` with edge_weight = hidden @ matrix, the last linear layer of a radial network.

        For "cg" on the CPU the compiled operator computes the weights of a few edges at a time, in the cache, and again
        for each derivative, so no array of size (e, weight_numel) is ever stored. Other families multiply first.

        Args:
            hidden: (e, H), the features of the radial network before its last layer.
            matrix: (H, weight_numel), the weight of that layer with its normalisation: weight.T of an nn.Linear; for
                e3nn's FullyConnectedNet weight / sqrt(H). For a bias b add it as a row, and a column of ones to hidden.
        """
        if not isinstance(self.map, RadialConvolutionMap):
            return self(x, edge_attr, hidden @ matrix, edge_index)
        size = matrix.shape[:1]
        parts = {"hidden": (hidden, (edge_index.shape[-1], *size)), "matrix": (matrix, (*size, self.weight_numel))}
        self._check_shapes(x, edge_attr, edge_index, **parts)
        return self.map.forward_radial(x, edge_attr, hidden, matrix, edge_index)

    def extra_repr(self) -> str:
        return (
            f"{self.irreps_in} x {self.irreps_edge} -> {self.irreps_out}, product={self.product!r}, "
            f"{self.map.describe()}"
        )

    def _check_shapes(self, x: Tensor, edge_attr: Tensor, edge_index: Tensor, **weights: tuple) -> None:
        """weights: name -> (tensor, expected shape)."""
        edges = edge_index.shape[-1]
        expected = {
            "x": (x, (x.shape[0], self.widths[0])),
            "edge_attr": (edge_attr, (edges, self.widths[1])),
            **weights,
            "edge_index": (edge_index, (2, edges)),
        }
        for name, (value, shape) in expected.items():
            if tuple(value.shape) != shape:
                raise InputError(f"{name} has shape {tuple(value.shape)}: expected {shape}")
