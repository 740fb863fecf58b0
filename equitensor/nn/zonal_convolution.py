"""`ZonalConvolution`: a Gaunt convolution with spherical harmonics of the edges, straight from their vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.nn.gaunt import output_scale, owners, selection
from equitensor.nn.gaunt_forms import check_gaunt_options
from equitensor.nn.interaction import path_irreps
from equitensor.nn.layout import common_multiplicity, component_sizes, gather_channels, spread_channels
from equitensor.nn.tables import Tables
from equitensor.o3 import find_paths
from equitensor.o3.irreps import IrrepsLike, as_irreps
from equitensor.o3.signals import signal
from equitensor.o3.zonal_grid import zonal_factors, zonal_grid
from equitensor.ops.grid_convolution import filtered_sum
from equitensor.ops.zonal_filters import zonal_filters


class ZonalConvolution(nn.Module):
    """z_i,l3 = w_l3 sum over edges j -> i of G (w_l1 x_j,l1) (w_ij,l2 Y_l2(r_ij)), in e3nn's flat layout.

    The values, weights and state dict of Convolution(..., product="gaunt") with edge_attr = Y(edge_vec); no
    harmonics of the edges are formed, as on the grid a filter is a Legendre series in n . r / |r|.

    Args:
        irreps_in: one common multiplicity C.
        irreps_edge: harmonics of the edges, such as "0e+1o+2e".
        irreps_out: the irreps to make.
        paths: "even", or "all" with those of the Poisson bracket.
        normalization: of the harmonics, "component", "integral" or "norm".
    Attributes:
        irreps_out: with multiplicities.
        instructions: plain tuples, as e3nn takes them.
        paths: the (ir1, ir2, ir_out) of the instructions.
        weight_numel: size of the weights of an edge.
    Raises:
        InputError: an irrep_out that no path reaches, wrong multiplicities, an irrep_edge of the other parity.
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_edge: IrrepsLike,
        irreps_out: IrrepsLike,
        paths: str = "even",
        normalization: str = "component",
    ) -> None:
        super().__init__()
        check_gaunt_options(paths, "grid")
        self.irreps_in, self.irreps_edge, wanted = map(as_irreps, (irreps_in, irreps_edge, irreps_out))
        channels = common_multiplicity(self.irreps_in, "irreps_in")
        if common_multiplicity(self.irreps_edge, "irreps_edge") != 1 or any(
            signal(ir) < 0 for _, ir in self.irreps_edge
        ):
            raise InputError(f"irreps_edge is '{self.irreps_edge}': give harmonics, such as 0e+1o+2e")
        self.map = _ZonalMap(self.irreps_in, self.irreps_edge, wanted, channels, paths == "all", normalization)
        self.irreps_out = self.map.irreps_out
        self.sizes = (component_sizes(self.irreps_in), component_sizes(self.irreps_out))
        self.weight_numel, self.instructions = self.map.weight_numel, self.map.instructions
        self.paths = path_irreps(self.instructions, self.irreps_in, self.irreps_edge, self.irreps_out)

    def forward(self, x: Tensor, edge_vec: Tensor, edge_weight: Tensor, edge_index: Tensor) -> Tensor:
        """(n, irreps_in.dim), (e, 3) of any length but zero, (e, weight_numel), (2, e) -> (n, irreps_out.dim)."""
        edges = edge_index.shape[-1]
        expected = {
            "x": (x, (x.shape[0], sum(self.sizes[0]) * self.map.channels)),
            "edge_vec": (edge_vec, (edges, 3)),
            "edge_weight": (edge_weight, (edges, self.weight_numel)),
            "edge_index": (edge_index, (2, edges)),
        }
        for name, (value, shape) in expected.items():
            if tuple(value.shape) != shape:
                raise InputError(f"{name} has shape {tuple(value.shape)}: expected {shape}")
        x = gather_channels(x, self.map.channels, self.sizes[0])
        return spread_channels(self.map(x, edge_vec, edge_weight, edge_index), self.sizes[1])

    def extra_repr(self) -> str:
        return f"{self.irreps_in} x Y({self.irreps_edge}) -> {self.irreps_out}, {self.map.describe()}"


class _ZonalMap(Tables):
    """The same on channels-last features."""

    def __init__(self, irreps_in, irreps_edge, irreps_out, channels: int, odd: bool, normalization: str) -> None:
        super().__init__()
        wanted = irreps_out.sort().irreps.simplify()
        self.irreps_out = type(irreps_in)([(channels, ir) for _, ir in wanted])
        self.indices = find_paths("gaunt", irreps_in, irreps_edge, wanted, selection("all" if odd else "even"))
        self.instructions = [(*index, "uvu", True) for index in self.indices]
        self.channels, self.weight_numel = channels, len(irreps_edge) * channels
        spaces = [[ir for _, ir in irreps] for irreps in (irreps_in, irreps_edge, wanted)]
        self._add_grid(spaces)
        self.factors = zonal_factors(max(ir.l for ir in spaces[1]), normalization)
        self.add_table("degrees", torch.tensor([ir.l for ir in spaces[1]]))
        self.add_table("owner_in", owners(spaces[0]))
        self.add_table("owner_out", owners(spaces[2]))
        scale = output_scale(spaces[0], spaces[1], spaces[2], self.indices).to(torch.get_default_dtype())
        self.w_l1 = nn.Parameter(torch.ones(len(spaces[0]), channels))
        self.w_l3 = nn.Parameter(scale.unsqueeze(1).repeat(1, channels))

    def _add_grid(self, spaces: list) -> None:
        sums = [sum(irs[n].l for irs, n in zip(spaces, index, strict=True)) for index in self.indices]
        parities = {total % 2 for total in sums}
        grid = zonal_grid(spaces[0], max(ir.l for ir in spaces[1]), spaces[2], 0 in parities, 1 in parities)
        self.signals = grid.signals
        for name in ("a", "c", "points", "odd_points", "tangents"):
            self.add_table(name, getattr(grid, name))

    def forward(self, x: Tensor, edge_vec: Tensor, edge_weight: Tensor, edge_index: Tensor) -> Tensor:
        x = x * self.w_l1.index_select(0, self.owner_in)
        direction = nn.functional.normalize(edge_vec, dim=1)
        filters = zonal_filters(direction, self.factors, self.points, self.odd_points, self.tangents)
        if len(self.degrees) != len(self.factors):
            filters = filters.index_select(1, self.degrees)
        weight = edge_weight.unflatten(1, (-1, self.channels))
        z = filtered_sum(x, filters, weight, edge_index, self.a, self.c, self.signals)
        return z * self.w_l3.index_select(0, self.owner_out)

    def describe(self) -> str:
        return f"{len(self.indices)} paths, {self.weight_numel} weights per edge, {len(self.a)} points"
