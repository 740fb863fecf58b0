"""The Clebsch-Gordan family: every path that symmetry allows, each with its own weight."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equitensor.nn.natural_parity import NaturalParityPaths
from equitensor.nn.tables import Tables
from equitensor.o3 import find_paths, wigner_3j
from equitensor.ops.mixed_product import mixed_product
from equitensor.ops.path_product import Path, path_product
from equitensor.ops.uvu_convolution import uvu_convolution
from equitensor.ops.uvu_paths import UVUPath, pack_paths

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
        irreps = (irreps1, irreps2, irreps_out)
        scales = [_path_scale(irreps_out, index, self.indices) for index in self.indices]
        blocks = [
            scale * wigner_3j(*(irreps[operand][slot].ir.l for operand, slot in enumerate(index)))
            for scale, index in zip(scales, self.indices, strict=True)
        ]
        for p, block in enumerate(blocks):
            self.add_table(f"coupling_{p}", block.permute(2, 0, 1).flatten(1).contiguous())
        self.form = _shared_weight_form(irreps, self.sizes)
        if self.form == "grid":
            degrees = tuple(tuple(ir.l for _, ir in space) for space in irreps)
            self.grid = NaturalParityPaths(degrees, self.indices, scales)
        elif self.form == "dense":
            self.add_table("stack", self._stack(blocks))

    def _stack(self, blocks: list[Tensor]) -> Tensor:
        """(P, d1 d2 d3): the coupling tensor of each path in the place of its operands and output."""
        stack = torch.zeros(len(blocks), *self.sizes, dtype=torch.float64)
        for tensor, block, path in zip(stack, blocks, self.slices, strict=True):
            tensor[path.first, path.second, path.out] = block
        return stack.flatten(1)

    def initial_weight(self) -> Tensor:
        """Normal deviates: outputs of unit variance for inputs of unit variance."""
        return torch.randn(self.weight_numel)

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """(..., d1, C), (..., d2, C), weight (P C,) or (..., P C) or None for ones: (..., d3, C)."""
        if self.form != "paths" and (weight is None or weight.dim() == 1):
            weight = None if weight is None else weight.view(-1, self.channels)
            return self._shared(x, y, weight)
        weight = x.new_ones(self.weight_numel) if weight is None else weight
        weight = weight.unflatten(-1, (-1, self.channels))
        couplings = [getattr(self, f"coupling_{p}") for p in range(len(self.slices))]
        return path_product(x, y, weight, couplings, self.slices, self.sizes[2])

    def _shared(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        lead = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        first = _rows(x, lead)
        second = first if y is x else _rows(y, lead)
        z = self.grid(first, second, weight) if self.form == "grid" else self._dense(first, second, weight)
        return z.reshape(*lead, self.sizes[2], self.channels)

    def _dense(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        total = self.stack.sum(0).expand(self.channels, -1) if weight is None else weight.T @ self.stack
        z = mixed_product(x.permute(2, 1, 0), y.permute(2, 1, 0), total.unflatten(1, self.sizes))
        return z.permute(2, 1, 0)

    def powers(self, x: Tensor, order: int, weight: Tensor | None) -> list[Tensor]:
        """x, x (x) x, (x (x) x) (x) x ... up to `order` factors."""
        if self.form == "grid" and x.dim() == 3 and (weight is None or weight.dim() == 1):
            return self.grid.powers(x, order, None if weight is None else weight.view(-1, self.channels))
        terms = [x]
        while len(terms) < order:
            terms.append(self(terms[-1], x, weight))
        return terms

    def describe(self) -> str:
        return f"{len(self.indices)} paths, {self.weight_numel} weights"


class ClebschGordanConvolution(Tables):
    """e3nn's uvu map with gather and sum; one output slot per path, sorted by irrep, weights on every edge.

    Each path is scaled by sqrt(2 l3 + 1). edge_weight: path after path, channel fastest.
    """

    def __init__(self, irreps_in, irreps_edge, irreps_out) -> None:
        super().__init__()
        self.irreps_out, self.instructions = _uvu_instructions(irreps_in, irreps_edge, irreps_out)
        spaces = (irreps_in, irreps_edge, self.irreps_out)
        paths, couplings, start = [], [], 0
        for *slots, _, _ in self.instructions:
            (mul, ir1), (_, ir2), (_, ir3) = (space[slot] for space, slot in zip(spaces, slots, strict=True))
            x, y, z = (space.slices()[slot].start for space, slot in zip(spaces, slots, strict=True))
            paths.append(UVUPath(x, y, start, z, mul, ir1.dim, ir2.dim, ir3.dim))
            couplings.append(math.sqrt(ir3.dim) * wigner_3j(ir1.l, ir2.l, ir3.l).transpose(0, 1))
            start += mul
        plan, coupling = pack_paths(paths, couplings)
        self.add_table("plan", plan)
        self.add_table("coupling", coupling)
        self.weight_numel = start
        self.shapes = tuple([(mul, ir.dim) for mul, ir in space] for space in (irreps_in, self.irreps_out))

    def forward(self, x: Tensor, edge_attr: Tensor, edge_weight: Tensor, edge_index: Tensor) -> Tensor:
        rows, (sender, receiver) = exchange_axes(x, self.shapes[0]), edge_index
        width = sum(mul * size for mul, size in self.shapes[1])
        z = uvu_convolution(rows, edge_attr, edge_weight, sender, receiver, self.coupling, self.plan, width)
        return exchange_axes(z, [(size, mul) for mul, size in self.shapes[1]])

    def describe(self) -> str:
        return f"{len(self.instructions)} paths, {self.weight_numel} weights per edge"


def exchange_axes(x: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
    """Rows of blocks (a, b) as rows of blocks (b, a)."""
    blocks = x.split([a * b for a, b in shapes], dim=1)
    return torch.cat(
        [block.unflatten(1, shape).transpose(1, 2).flatten(1) for block, shape in zip(blocks, shapes, strict=True)], 1
    )


def _component_slices(irreps) -> list[slice]:
    """Where each irrep lies on the component axis of the channels-last layout."""
    ends = torch.tensor([ir.dim for _, ir in irreps]).cumsum(0).tolist()
    return [slice(end - ir.dim, end) for end, (_, ir) in zip(ends, irreps, strict=True)]


def _path_scale(irreps_out, index: tuple, indices: list[tuple]) -> float:
    """e3nn's 'component' and 'element' normalisation."""
    fan_in = sum(1 for other in indices if other[2] == index[2])
    return math.sqrt(irreps_out[index[2]].ir.dim / fan_in)


def _shared_weight_form(irreps: tuple, sizes: tuple) -> str:
    """The cheapest form of the same map when all items share the weights."""
    if all(ir.p == (-1) ** ir.l for space in irreps for _, ir in space):
        return "grid"
    return "dense" if math.prod(sizes) <= DENSE_LIMIT else "paths"


def _rows(x: Tensor, lead: torch.Size) -> Tensor:
    return x.expand(*lead, *x.shape[-2:]).reshape(lead.numel(), *x.shape[-2:])


def _uvu_instructions(irreps_in, irreps_edge, irreps_out) -> tuple:
    """Sorted output irreps, one slot per path, and (i_in, i_edge, i_out, "uvu", True) sorted by slot."""
    wanted = irreps_out.sort().irreps.simplify()
    found = find_paths("cg", irreps_in, irreps_edge, wanted)
    slots = [(irreps_in[i].mul, wanted[k].ir) for i, _, k in found]
    sorted_irreps = type(irreps_in)(slots)  # `found` is sorted by irrep already
    instructions = [(i, j, slot, "uvu", True) for slot, (i, j, _) in enumerate(found)]
    return sorted_irreps, instructions
