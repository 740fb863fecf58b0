"""Many-body products of the Gaunt family: powers of a function on the sphere, on the grid from first to last.

Luo, Chen, Krishnapriyan, "Enabling efficient equivariant operations in the Fourier basis via Gaunt tensor
products", ICLR 2024, section 3.3; nodes exact to the degree of all factors and the output make it exact.
"""

from __future__ import annotations

import copy
from typing import final

import torch
from torch import Tensor

from equitensor.nn.product_contract import ManyBodyMap
from equitensor.nn.tables import Tables
from equitensor.o3 import quadrature, spherical_harmonics
from equitensor.o3.signals import signal, signal_columns
from equitensor.ops.contraction import transform

SAMPLES = 4096


@final
class GridPowers(ManyBodyMap):
    """z_l = sum over orders of w (f^order)_l, f the function with coefficients x in 'integral' normalisation.

    With true and pseudo signals f = f_true + j f_pseudo, j^2 = 1: powers of f_true + f_pseudo and of their
    difference. One path per order and output irrep.

    Attributes:
        paths: for each order, ((), irrep out) of each weight.
    """

    def __init__(self, irreps_in, irreps_out, channels: int, correlation: int) -> None:
        super().__init__()
        irs, outs = [ir for _, ir in irreps_in], [ir for _, ir in irreps_out]
        lmax, l_out = max(ir.l for ir in irs), max(ir.l for ir in outs)
        points, weights = quadrature(correlation * lmax + l_out)
        self.signs = {signal(ir) for ir in irs}
        factors = (1.0, -1.0) if len(self.signs) == 2 else (1.0,)
        harmonics = spherical_harmonics(max(lmax, l_out), points)
        self.num_points = len(points)
        self.add_table("a", torch.cat([signal_columns(irs, harmonics, (1.0, factor)) for factor in factors]))
        self.paths = []
        for order, reached in enumerate(powers_reached(irs, correlation), start=1):
            slots = [slot for slot, ir in enumerate(outs) if (ir.l, signal(ir)) in reached]
            chosen = [outs[slot] for slot in slots]
            self.paths.append([((), ir) for ir in chosen])
            add_places(self, order, outs, slots)
            if order == 1:
                self.add_table("c_1", same_irreps(irs, chosen))
            elif chosen:
                parts = [signal_columns(chosen, weights[:, None] * harmonics, (1.0, factor)) for factor in factors]
                self.add_table(f"c_{order}", (torch.cat(parts) / len(factors)).T.contiguous())
        self._reached = [len(own) > 0 for own in self.paths]  # torch.compile cannot look into irreps
        self.correlation, self.d_out = correlation, sum(ir.dim for ir in outs)

    def powers(self, x: Tensor) -> list[Tensor]:
        """The components of each order that have a path: x (n, d, C) to (n, d_order, C)."""
        terms = [transform(self.c_1, x)]
        f = values = transform(self.a, x) if self.correlation > 1 else x
        for order in range(2, self.correlation + 1):
            values = values * f
            terms.append(transform(getattr(self, f"c_{order}"), values) if self._reached[order - 1] else x[:, :0])
        return terms

    def forward(self, x: Tensor, weights: list[Tensor], element_index: Tensor) -> Tensor:
        """x (n, d, C), a weight (elements, paths, C) for each order: (n, d_out, C)."""
        return weighted_sum(self, self.powers(x), weights, element_index, self.d_out)

    def initial_scale(self) -> list[Tensor]:
        """By order, (paths,): outputs of unit variance for normal deviates x."""
        return unit_variance(self, self.a.shape[1])

    def refusal(self, ir_out) -> str:
        """Why no order reaches an irrep."""
        if self.signs == {1} and signal(ir_out) == -1:
            return (
                f"powers of a function whose parities are (-1)^l have the same, and {ir_out} is odd beside them: "
                "product='cg' has such paths"
            )
        return "no power of the function on the sphere has this degree and this parity"

    def multiplications(self) -> int:
        """Per atom and channel."""
        rows, columns = self.a.shape
        out = sum(ir.dim for own in self.paths[1:] for _, ir in own)
        return rows * (columns + out + self.correlation - 1) if self.correlation > 1 else 0

    def describe(self) -> str:
        """What it is computed with."""
        return f"{self.num_points} points"


def powers_reached(irs, correlation: int) -> list[set[tuple[int, int]]]:
    """(degree, signal) of the components of f^1, f^2, ..."""
    first = {(ir.l, signal(ir)) for ir in irs}
    reached = [first]
    while len(reached) < correlation:
        reached.append(
            {(l, s1 * s2) for l1, s1 in reached[-1] for l2, s2 in first for l in range(abs(l1 - l2), l1 + l2 + 1, 2)}
        )
    return reached


def weighted_sum(layer: Tables, terms: list[Tensor], weights: list[Tensor], element_index: Tensor, d: int) -> Tensor:
    """Orders with their element's weights, each path spread over its components, added in their places of d."""
    complete = None
    parts = []
    for order, (term, weight) in enumerate(zip(terms, weights, strict=True), start=1):
        place, owner = getattr(layer, f"place_{order}"), getattr(layer, f"owner_{order}")
        weighted = term * weight.index_select(1, owner).index_select(0, element_index)
        if len(place) == d:
            complete = weighted if complete is None else complete + weighted
        elif len(place):
            parts.append((place, weighted))
    z = terms[0].new_zeros(len(element_index), d, terms[0].shape[2]) if complete is None else complete
    for place, weighted in parts:
        z = z.index_add(1, place, weighted)
    return z


def unit_variance(layer: Tables, d: int) -> list[Tensor]:
    """1 / standard deviation of each path's output, and 1 / sqrt(orders that reach the output)."""
    x = torch.randn(1, d, SAMPLES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    terms = copy.deepcopy(layer).double().powers(x)
    outs = [out for own in layer.paths for _, out in own]
    scales = []
    for order, (term, own) in enumerate(zip(terms, layer.paths, strict=True), start=1):
        owner = layer.table(f"owner_{order}")
        variance = torch.zeros(len(own), dtype=torch.float64).index_add(0, owner, term[0].var(dim=1))
        share = torch.tensor([outs.count(out) / out.dim for _, out in own], dtype=torch.float64)
        scales.append((variance * share).rsqrt())
    return scales


def add_places(layer: Tables, order: int, outs, slots: list[int]) -> None:
    """Tables for `weighted_sum`: where the components of the chosen outputs lie, and which path each belongs to."""
    starts = torch.tensor([0, *(ir.dim for ir in outs)]).cumsum(0).tolist()
    places = [torch.arange(starts[slot], starts[slot] + outs[slot].dim) for slot in slots]
    layer.add_table(f"place_{order}", torch.cat([torch.zeros(0, dtype=torch.long), *places]))
    sizes = torch.tensor([outs[slot].dim for slot in slots], dtype=torch.long)
    layer.add_table(f"owner_{order}", torch.arange(len(slots)).repeat_interleave(sizes))


def same_irreps(irs, outs) -> Tensor:
    """(d_out, d): each output the sum of the equal irreps."""
    rows = [torch.cat([torch.eye(out.dim, ir.dim) * (out == ir) for ir in irs], dim=1) for out in outs]
    return torch.cat([torch.zeros(0, sum(ir.dim for ir in irs)), *rows]).to(torch.float64)
