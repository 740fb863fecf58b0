"""The Gaunt convolution: nodes are transformed once, edges only multiply and accumulate."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from equitensor.nn.gaunt import output_scale, owners, selection
from equitensor.nn.gaunt_forms import FORMS, check_gaunt_options
from equitensor.nn.layout import common_multiplicity
from equitensor.nn.product_contract import ConvolutionMap
from equitensor.o3 import find_paths
from equitensor.ops.grid_convolution import grid_convolution

CONVOLUTION_FORMS = ("grid", "fourier", "direct")


@final
class GauntConvolution(ConvolutionMap):
    """z_i,l3 = w_l3 sum over edges j -> i of G (w_l1 x_j,l1) (w_ij,l2 y_ij,l2), channels-last.

    edge_weight (edge degree, channel), channel fastest; w_l1 and w_l3, each (degree, C), are parameters.
    Options as in `GauntInteraction`.
    """

    def __init__(self, irreps_in, irreps_edge, irreps_out, paths: str = "even", form: str = "grid") -> None:
        super().__init__()
        check_gaunt_options(paths, form, CONVOLUTION_FORMS)
        channels = common_multiplicity(irreps_in, "irreps_in")
        wanted = irreps_out.sort().irreps.simplify()
        self.irreps_out = type(irreps_in)([(channels, ir) for _, ir in wanted])
        self.indices = find_paths("gaunt", irreps_in, irreps_edge, wanted, selection(paths))
        self.instructions = [(*index, "uvu", True) for index in self.indices]
        spaces = [[ir for _, ir in irreps] for irreps in (irreps_in, irreps_edge, wanted)]
        self.channels, self.weight_numel = channels, len(irreps_edge) * channels
        self.form = FORMS[form](spaces, odd=paths == "all")
        for name, irs in zip(("owner_in", "owner_edge", "owner_out"), spaces, strict=True):
            self.add_table(name, owners(irs))
        self.on_grid = form == "grid"
        if self.on_grid:
            self.add_table("filters", _degrees_apart(self.form.table("b"), spaces[1]))
        scale = output_scale(spaces[0], spaces[1], spaces[2], self.indices).to(torch.get_default_dtype())
        self.w_l1 = nn.Parameter(torch.ones(len(spaces[0]), channels))
        self.w_l3 = nn.Parameter(scale.unsqueeze(1).repeat(1, channels))

    def forward(self, x: Tensor, edge_attr: Tensor, edge_weight: Tensor, edge_index: Tensor) -> Tensor:
        """Channels-last (n, d1, C) to (n, d3, C)."""
        x = x * self.w_l1.index_select(0, self.owner_in)
        weight = edge_weight.unflatten(1, (-1, self.channels))
        if self.on_grid:
            z = grid_convolution(x, edge_attr, weight, edge_index, self.form.a, self.filters, self.form.c)
        else:
            filters = edge_attr.unsqueeze(2) * weight.index_select(1, self.owner_edge)
            z = self.form.convolve(x, filters, edge_index)
        return z * self.w_l3.index_select(0, self.owner_out)

    def describe(self) -> str:
        return f"{len(self.indices)} paths, {self.weight_numel} weights per edge, {self.form.describe()}"


def _degrees_apart(b: Tensor, irs_edge: list) -> Tensor:
    """B (R, d2) as (d2, degrees R): the values of each degree by themselves, for weights per degree."""
    owner = owners(irs_edge)
    apart = b.new_zeros(len(owner), len(irs_edge), len(b))
    apart[torch.arange(len(owner)), owner] = b.T
    return apart.flatten(1)
