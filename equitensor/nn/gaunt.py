"""The Gaunt family: features are functions on the sphere, and their product is pointwise multiplication.

Luo, Chen, Krishnapriyan, "Enabling efficient equivariant operations in the Fourier basis via Gaunt tensor
products", ICLR 2024; evaluated here on a quadrature grid, which is exact and exactly equivariant.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equitensor.nn.tables import Tables
from equitensor.o3 import find_paths, gaunt_coefficient, gaunt_grid
from equitensor.ops.contraction import transform
from equitensor.ops.grid_convolution import grid_convolution


class GauntInteraction(Tables):
    """z_l3 = w_l3 sum over l1, l2 of G (w_l1 x_l1) (w_l2 y_l2) on channels-last features.

    G is the Gaunt tensor in 'integral' normalisation. Weights w_l1 | w_l2 | w_l3, each (degree, C).
    """

    def __init__(self, irreps1, irreps2, irreps_out, channels: int) -> None:
        super().__init__()
        self.indices = find_paths("gaunt", irreps1, irreps2, irreps_out)
        self.instructions = [(*index, "uuu", True) for index in self.indices]
        spaces = [[ir for _, ir in irreps] for irreps in (irreps1, irreps2, irreps_out)]
        self.channels, self.degrees = channels, [len(irs) for irs in spaces]
        self.weight_numel = sum(self.degrees) * channels
        for name, table in zip(("a", "b", "c"), gaunt_grid(*spaces), strict=True):
            self.add_table(name, table)
        for name, irs in zip(("owner1", "owner2", "owner_out"), spaces, strict=True):
            self.add_table(name, _owners(irs))
        self.same_operands = spaces[0] == spaces[1]
        self.scale = _output_scale(*spaces, self.indices)

    def initial_weight(self) -> Tensor:
        """Ones, and for w_l3 what gives outputs of unit variance for inputs of unit variance."""
        weight = torch.ones(sum(self.degrees), self.channels)
        weight[-self.degrees[2] :] = self.scale.to(weight.dtype).unsqueeze(1)
        return weight.flatten()

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """(..., d1, C), (..., d2, C), weight (..., weight_numel) or None for ones: (..., d3, C)."""
        w1, w2, w_out = self._split(weight)
        first = transform(self.a, x if w1 is None else x * w1)
        if y is x and w1 is None and self.same_operands:
            second = first
        else:
            second = transform(self.b, y if w2 is None else y * w2)
        return self._integrate(first * second, w_out)

    def powers(self, x: Tensor, order: int, weight: Tensor | None) -> list[Tensor]:
        """x, x (x) x, (x (x) x) (x) x ... up to `order` factors, each projected back; x is evaluated once."""
        w1, w2, w_out = self._split(weight)
        terms = [x]
        factor = values = transform(self.b, x if w2 is None else x * w2)
        while len(terms) < order:
            if len(terms) > 1 or w1 is not None:
                values = transform(self.a, terms[-1] if w1 is None else terms[-1] * w1)
            terms.append(self._integrate(values * factor, w_out))
        return terms

    def _split(self, weight: Tensor | None) -> tuple[Tensor | None, ...]:
        """w_l1, w_l2, w_l3 spread over the components."""
        if weight is None:
            return None, None, None
        parts = weight.unflatten(-1, (-1, self.channels)).split(self.degrees, dim=-2)
        owners = (self.owner1, self.owner2, self.owner_out)
        return tuple(part.index_select(-2, owner) for part, owner in zip(parts, owners, strict=True))

    def _integrate(self, values: Tensor, w_out: Tensor | None) -> Tensor:
        z = transform(self.c.T, values)
        return z if w_out is None else z * w_out

    def describe(self) -> str:
        return f"{len(self.indices)} paths, {self.weight_numel} weights, {len(self.a)} points"


class GauntConvolution(Tables):
    """z_i,l3 = w_l3 sum over edges j -> i of G (w_l1 x_j,l1) (w_ij,l2 y_ij,l2), transformed once per node.

    edge_weight (edge degree, channel), channel fastest; w_l1 and w_l3, each (degree, C), are parameters.
    """

    def __init__(self, irreps_in, irreps_edge, irreps_out, channels: int) -> None:
        super().__init__()
        wanted = irreps_out.sort().irreps.simplify()
        self.irreps_out = type(irreps_in)([(channels, ir) for _, ir in wanted])
        self.indices = find_paths("gaunt", irreps_in, irreps_edge, wanted)
        self.instructions = [(*index, "uvu", True) for index in self.indices]
        spaces = [[ir for _, ir in irreps] for irreps in (irreps_in, irreps_edge, wanted)]
        self.channels, self.weight_numel = channels, len(irreps_edge) * channels
        a, b, c = gaunt_grid(*spaces)
        owners = _owners(spaces[1])
        apart = torch.zeros(len(owners), len(b), len(irreps_edge), dtype=torch.float64)
        apart[torch.arange(len(owners)), :, owners] = b.T
        self.add_table("a", a)
        self.add_table("b", apart.flatten(1))
        self.add_table("c", c)
        self.add_table("owner_in", _owners(spaces[0]))
        self.add_table("owner_out", _owners(spaces[2]))
        scale = _output_scale(*spaces, self.indices).to(torch.get_default_dtype())
        self.w_l1 = nn.Parameter(torch.ones(len(spaces[0]), channels))
        self.w_l3 = nn.Parameter(scale.unsqueeze(1).repeat(1, channels))

    def forward(self, x: Tensor, edge_attr: Tensor, edge_weight: Tensor, edge_index: Tensor) -> Tensor:
        """Channels-last (n, d1, C) to (n, d3, C)."""
        x = x * self.w_l1.index_select(0, self.owner_in)
        weight = edge_weight.unflatten(1, (-1, self.channels))
        z = grid_convolution(x, edge_attr, weight, edge_index, self.a, self.b, self.c)
        return z * self.w_l3.index_select(0, self.owner_out)

    def describe(self) -> str:
        return f"{len(self.indices)} paths, {self.weight_numel} weights per edge, {len(self.a)} points"


def _owners(irs) -> Tensor:
    """Index of the irrep that each component belongs to."""
    return torch.repeat_interleave(torch.arange(len(irs)), torch.tensor([ir.dim for ir in irs]))


def _output_scale(irs1, irs2, irs_out, indices: list[tuple]) -> Tensor:
    """1 / standard deviation of each output irrep for independent inputs of unit variance."""
    variance = torch.zeros(len(irs_out), dtype=torch.float64)
    for i, j, k in indices:
        variance[k] += gaunt_coefficient(irs1[i].l, irs2[j].l, irs_out[k].l) ** 2 / irs_out[k].dim
    return variance.rsqrt()
