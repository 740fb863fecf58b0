"""The Clebsch-Gordan family: every path that symmetry allows, each with its own weight."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.nn.low_rank_paths import LowRankPaths
from equitensor.nn.natural_parity import NaturalParityPaths
from equitensor.nn.product_contract import FlatInteractionMap, RadialConvolutionMap, repeated
from equitensor.o3 import find_paths, wigner_3j
from equitensor.ops.availability import has_kernel
from equitensor.ops.mixed_product import mixed_product
from equitensor.ops.radial_convolution import radial_convolution
from equitensor.ops.uuu_product import uuu_product
from equitensor.ops.uuu_workspace import Layout, UUUPath, pack_pairs
from equitensor.ops.uvu_convolution import uvu_convolution
from equitensor.ops.uvu_paths import UVUPath, pack_paths

FORMS = ("paths", "low_rank", "dense")
GRID_LIMIT = 16  # components, lmax 3: up to here a grid may serve several powers of one feature


@final
class ClebschGordanInteraction(FlatInteractionMap):
    """z = sum over paths of w_p (x (x) y)_p on channels-last features, e3nn's "uuu" with its normalisation.

    Each path is scaled by sqrt((2 l3 + 1) / number of paths to that output). Weights (path, C).

    Args:
        form: how to compute it: "paths", any weights, the quickest from some hundred items on; or, where items share
            the weights, "low_rank" (C^T [(A x) * (B y)], by a quadrature grid between true signals) or "dense" (one
            matrix per channel). Left out: paths, and the grid for `powers` in plain torch to degree 3.
    """

    bilinear = weighted_by_path = True

    def __init__(self, irreps1, irreps2, irreps_out, channels: int, form: str | None = None) -> None:
        super().__init__()
        self.indices = find_paths("cg", irreps1, irreps2, irreps_out)
        self.instructions = [(*index, "uuu", True) for index in self.indices]
        self.channels, self.weight_numel = channels, len(self.indices) * channels
        self.irreps = irreps = (irreps1, irreps2, irreps_out)
        self.slices = [_component_slices(space) for space in irreps]
        self.sizes = tuple(slices[-1].stop for slices in self.slices)
        scales = [_path_scale(irreps_out, index, self.indices) for index in self.indices]
        couplings = [
            scale * wigner_3j(*(space[slot].ir.l for space, slot in zip(irreps, index, strict=True)))
            for scale, index in zip(scales, self.indices, strict=True)
        ]
        self._add_paths(couplings)
        natural = all(ir.p == (-1) ** ir.l for space in irreps for _, ir in space)
        self.form = _checked_form(form)
        self.grid: NaturalParityPaths | LowRankPaths | None = None
        if form == "low_rank" or (form is None and natural and max(self.sizes) <= GRID_LIMIT):
            degrees = tuple(tuple(ir.l for _, ir in space) for space in irreps)
            self.grid = (NaturalParityPaths if natural else LowRankPaths)(degrees, self.indices, scales)
        if form == "dense":
            self.add_table("stack", self._stack(couplings))

    def _add_paths(self, couplings: list[Tensor]) -> None:
        paths = []
        for row, (index, coupling) in enumerate(zip(self.indices, couplings, strict=True)):
            x, y, z = (slices[slot].start for slices, slot in zip(self.slices, index, strict=True))
            paths.append(UUUPath(x, y, row, z, *coupling.shape))
        plan, table = pack_pairs(paths, couplings)
        self.add_table("plan", plan)
        self.add_table("coupling", table)
        x, y, z = ([size] for size in self.sizes)
        self.layout = Layout(x, y, z, self.channels, True)
        x, y, z = ([ir.dim for _, ir in space] for space in self.irreps)
        self.flat_layout = Layout(x, y, z, self.channels, False)

    def _stack(self, blocks: list[Tensor]) -> Tensor:
        """(P, d1 d2 d3): the coupling tensor of each path in the place of its operands and output."""
        stack = torch.zeros(len(blocks), *self.sizes, dtype=torch.float64)
        for tensor, block, index in zip(stack, blocks, self.indices, strict=True):
            tensor[tuple(slices[slot] for slices, slot in zip(self.slices, index, strict=True))] = block
        return stack.flatten(1)

    def initial_weight(self) -> Tensor:
        """Normal deviates: outputs of unit variance for inputs of unit variance."""
        return torch.randn(self.weight_numel)

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """(..., d1, C), (..., d2, C), weight (P C,) or (..., P C) or None for ones: (..., d3, C)."""
        lead = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        by_item = weight is not None and weight.dim() > 1
        if weight is not None and by_item:
            lead = torch.broadcast_shapes(lead, weight.shape[:-1])
        first = _rows(x, lead)
        second = first if y is x else _rows(y, lead)
        if weight is not None and by_item:
            rows = weight.expand(*lead, -1).reshape(len(first), len(self.indices), self.channels)
            z = self._by_paths(first, second, rows.transpose(0, 1))
        else:
            z = self._shared(first, second, None if weight is None else weight.view(-1, self.channels))
        return z.reshape(*lead, self.sizes[2], self.channels)

    @property
    def by_paths(self) -> bool:
        """Whether a product goes path by path: then `of_rows` reads e3nn's layout as it is."""
        return self.form in (None, "paths")

    def of_rows(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """The same map of flat rows (..., irreps.dim)."""
        lead = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1], *([] if weight is None else [weight.shape[:-1]]))
        first = x.expand(*lead, -1).reshape(math.prod(lead), x.shape[-1])
        second = first if y is x else y.expand(*lead, -1).reshape(math.prod(lead), y.shape[-1])
        if weight is None:
            weight = x.new_ones(len(self.indices), 1, 1)
        elif weight.dim() == 1:
            weight = weight.view(-1, 1, self.channels)
        else:
            weight = weight.expand(*lead, -1).reshape(len(first), len(self.indices), self.channels).transpose(0, 1)
        z = uuu_product(first, second, weight, self.coupling, self.plan, self.flat_layout)
        return z.view(*lead, z.shape[-1])

    def _shared(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        if self.form == "low_rank" and self.grid is not None:
            return self.grid(x, y, weight)
        if self.form == "dense":
            return self._dense(x, y, weight)
        return self._by_paths(x, y, x.new_ones(len(self.indices), 1, 1) if weight is None else weight.unsqueeze(1))

    def _by_paths(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """(N, d1, C), (N, d2, C), weight (P, N, C) or (P, 1, C) or (P, 1, 1)."""
        return uuu_product(x.flatten(1), y.flatten(1), weight, self.coupling, self.plan, self.layout)

    def _dense(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        total = self.stack.sum(0).expand(self.channels, -1) if weight is None else weight.T @ self.stack
        z = mixed_product(x.permute(2, 1, 0), y.permute(2, 1, 0), total.unflatten(1, self.sizes))
        return z.permute(2, 1, 0)

    def powers(self, x: Tensor, order: int, weight: Tensor | None) -> list[Tensor]:
        """x, x (x) x, (x (x) x) (x) x ... up to `order` factors."""
        shared = x.dim() == 3 and (weight is None or weight.dim() == 1)
        if self.grid is not None and shared and not (self.form is None and has_kernel(x)):
            return self.grid.powers(x, order, None if weight is None else weight.view(-1, self.channels))
        return repeated(self, x, order, weight)

    def describe(self) -> str:
        return f"{len(self.indices)} paths, {self.weight_numel} weights, form={self.form or 'paths'!r}"


@final
class ClebschGordanConvolution(RadialConvolutionMap):
    """e3nn's uvu map with gather and sum; one output slot per path, sorted by irrep, weights on every edge.

    Each path is scaled by sqrt(2 l3 + 1). edge_weight: path after path, channel fastest.
    """

    layout = "flat"

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
        self.weight_numel, self.width = start, self.irreps_out.dim

    def forward(self, x: Tensor, edge_attr: Tensor, edge_weight: Tensor, edge_index: Tensor) -> Tensor:
        sender, receiver = edge_index
        return uvu_convolution(x, edge_attr, edge_weight, sender, receiver, self.coupling, self.plan, self.width)

    def forward_radial(
        self, x: Tensor, edge_attr: Tensor, hidden: Tensor, matrix: Tensor, edge_index: Tensor
    ) -> Tensor:
        """`forward` with edge_weight = hidden @ matrix, which is made chunk by chunk."""
        sender, receiver = edge_index
        return radial_convolution(x, edge_attr, hidden, matrix, sender, receiver, self.coupling, self.plan, self.width)

    def describe(self) -> str:
        return f"{len(self.instructions)} paths, {self.weight_numel} weights per edge"


def _component_slices(irreps) -> list[slice]:
    """Where each irrep lies on the component axis of the channels-last layout."""
    ends = torch.tensor([ir.dim for _, ir in irreps]).cumsum(0).tolist()
    return [slice(end - ir.dim, end) for end, (_, ir) in zip(ends, irreps, strict=True)]


def _path_scale(irreps_out, index: tuple, indices: list[tuple]) -> float:
    """e3nn's 'component' and 'element' normalisation."""
    fan_in = sum(1 for other in indices if other[2] == index[2])
    return math.sqrt(irreps_out[index[2]].ir.dim / fan_in)


def _checked_form(form: str | None) -> str | None:
    if form not in (None, *FORMS):
        raise InputError(f"form is {form!r}: choose one of {', '.join(FORMS)}")
    return form


def _rows(x: Tensor, lead: torch.Size) -> Tensor:
    return x.expand(*lead, *x.shape[-2:]).reshape(math.prod(lead), *x.shape[-2:])


def _uvu_instructions(irreps_in, irreps_edge, irreps_out) -> tuple[Any, list[tuple]]:
    """Sorted output irreps, one slot per path, and (i_in, i_edge, i_out, "uvu", True) sorted by slot."""
    wanted = irreps_out.sort().irreps.simplify()
    paths = find_paths("cg", irreps_in, irreps_edge, wanted)
    slots = [(irreps_in[i].mul, wanted[k].ir) for i, _, k in paths]
    sorted_irreps = type(irreps_in)(slots)  # `paths` are sorted by irrep already
    instructions = [(i, j, slot, "uvu", True) for slot, (i, j, _) in enumerate(paths)]
    return sorted_irreps, instructions
