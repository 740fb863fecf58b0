"""The Clebsch-Gordan family: every path that symmetry allows, each with its own weight."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equitensor.nn.tables import Tables
from equitensor.o3 import find_paths, wigner_3j
from equitensor.ops.contraction import transform
from equitensor.ops.path_product import (
    EdgePath,
    Path,
    mix_couplings,
    mixed_product,
    outer,
    path_convolution,
    path_product,
)

DENSE_LIMIT = 8192  # up to this size of a (d1, d2, d3) tensor, all paths go through one matrix product


class ClebschGordanInteraction(Tables):
    """z = sum over paths of w_p (x (x) y)_p on channels-last features, e3nn's "uuu" with its normalisation.

    Each path is scaled by sqrt((2 l3 + 1) / number of paths to that output). Weights (path, C).
    """

    def __init__(self, irreps1, irreps2, irreps_out, channels: int) -> None:
        super().__init__()
        self.indices = find_paths("cg", irreps1, irreps2, irreps_out)
        self.instructions = [(*index, "uuu", True) for index in self.indices]
        self.channels, self.weight_numel = channels, len(self.indices) * channels
        starts = [_component_slices(irreps) for irreps in (irreps1, irreps2, irreps_out)]
        self.sizes = tuple(slices[-1].stop for slices in starts)
        self.slices = [Path(*(s[i] for s, i in zip(starts, index, strict=True))) for index in self.indices]
        self.dense = math.prod(self.sizes) <= DENSE_LIMIT
        irreps = (irreps1, irreps2, irreps_out)
        blocks = [_scaled_coupling(irreps, index, self.indices) for index in self.indices]
        for p, block in enumerate(blocks):
            self.add_table(f"coupling_{p}", block.permute(2, 0, 1).flatten(1).contiguous())
        if self.dense:
            self._add_entries(blocks)

    def _add_entries(self, blocks: list[Tensor]) -> None:
        """The non-zero entries of all paths with their places in the flattened (d1, d2, d3) tensor."""
        _, d2, d3 = self.sizes
        values, owners, positions = [], [], []
        for p, (block, path) in enumerate(zip(blocks, self.slices, strict=True)):
            i, j, k = (block.abs() > 1e-14).nonzero(as_tuple=True)
            values.append(block[i, j, k])
            owners.append(torch.full_like(i, p))
            positions.append(((i + path.first.start) * d2 + j + path.second.start) * d3 + k + path.out.start)
        self.add_table("values", torch.cat(values))
        self.add_table("owners", torch.cat(owners))
        self.add_table("positions", torch.cat(positions))
        total = torch.zeros(math.prod(self.sizes), dtype=torch.float64)
        total.index_add_(0, torch.cat(positions), torch.cat(values))
        self.add_table("total", total.view(-1, d3).T.contiguous())

    def initial_weight(self) -> Tensor:
        """Normal deviates: outputs of unit variance for inputs of unit variance."""
        return torch.randn(self.weight_numel)

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """(..., d1, C), (..., d2, C), weight (..., P, C) or (P, C) or None for ones: (..., d3, C)."""
        if self.dense and weight is None:
            return transform(self.total, outer(x, y))
        if weight is None:
            weight = x.new_ones(self.weight_numel)
        weight = weight.unflatten(-1, (-1, self.channels))
        if self.dense and weight.dim() == 2:
            return self._mixed(x, y, weight)
        couplings = [getattr(self, f"coupling_{p}") for p in range(len(self.slices))]
        return path_product(x, y, weight, couplings, self.slices, self.sizes[2])

    def _mixed(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        mixed = mix_couplings(weight, self.values, self.owners, self.positions, math.prod(self.sizes))
        lead = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        rows = [t.expand(*lead, *t.shape[-2:]).reshape(lead.numel(), *t.shape[-2:]) for t in (x, y)]
        z = mixed_product(*rows, mixed.reshape(self.channels, -1, self.sizes[2]))
        return z.reshape(*lead, self.sizes[2], self.channels)

    def describe(self) -> str:
        return f"{len(self.indices)} paths, {self.weight_numel} weights"


class ClebschGordanConvolution(Tables):
    """e3nn's uvu map with gather and sum; one output slot per path, sorted by irrep, weights on every edge.

    Each path is scaled by sqrt(2 l3 + 1). edge_weight: path after path, channel fastest.
    """

    def __init__(self, irreps_in, irreps_edge, irreps_out) -> None:
        super().__init__()
        self.irreps_out, self.instructions = _uvu_instructions(irreps_in, irreps_edge, irreps_out)
        starts = [s.start for s in irreps_in.slices()]
        self.edge_paths, blocks = [], []
        for i, j, k, *_ in self.instructions:
            (mul, ir1), ir2, ir3 = irreps_in[i], irreps_edge[j].ir, self.irreps_out[k].ir
            self.edge_paths.append(EdgePath(starts[i], mul, ir1.dim, ir3.dim))
            coupling = math.sqrt(ir3.dim) * wigner_3j(ir1.l, ir2.l, ir3.l).transpose(0, 1).flatten(1)
            block = torch.zeros(irreps_edge.dim, coupling.shape[1], dtype=torch.float64)
            block[irreps_edge.slices()[j]] = coupling
            blocks.append(block)
        self.add_table("coupling", torch.cat(blocks, dim=1))
        self.weight_numel = sum(path.mul for path in self.edge_paths)

    def forward(self, x: Tensor, edge_attr: Tensor, edge_weight: Tensor, edge_index: Tensor) -> Tensor:
        return path_convolution(x, edge_attr, edge_weight, edge_index, self.coupling, self.edge_paths)

    def describe(self) -> str:
        return f"{len(self.instructions)} paths, {self.weight_numel} weights per edge"


def _component_slices(irreps) -> list[slice]:
    """Where each irrep lies on the component axis of the channels-last layout."""
    ends = torch.tensor([ir.dim for _, ir in irreps]).cumsum(0).tolist()
    return [slice(end - ir.dim, end) for end, (_, ir) in zip(ends, irreps, strict=True)]


def _scaled_coupling(irreps: tuple, index: tuple, indices: list[tuple]) -> Tensor:
    l1, l2, l3 = (irreps[operand][slot].ir.l for operand, slot in enumerate(index))
    fan_in = sum(1 for other in indices if other[2] == index[2])
    return math.sqrt((2 * l3 + 1) / fan_in) * wigner_3j(l1, l2, l3)


def _uvu_instructions(irreps_in, irreps_edge, irreps_out) -> tuple:
    """Sorted output irreps, one slot per path, and (i_in, i_edge, i_out, "uvu", True) sorted by slot."""
    wanted = irreps_out.sort().irreps.simplify()
    found = find_paths("cg", irreps_in, irreps_edge, wanted)
    slots = [(irreps_in[i].mul, wanted[k].ir) for i, _, k in found]
    sorted_irreps = type(irreps_in)(slots)  # `found` is sorted by irrep already
    instructions = [(i, j, slot, "uvu", True) for slot, (i, j, _) in enumerate(found)]
    return sorted_irreps, instructions
