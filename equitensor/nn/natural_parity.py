"""Clebsch-Gordan paths between true signals (parity (-1)^l) on half a quadrature grid.

Every such path has an even l1 + l2 + l3, so its coupling tensor is a multiple of the Gaunt tensor: with degrees
kept apart on the grid, any path weights are a small matrix between degrees. Y_l1 Y_l2 Y_l3 is even under
n -> -n, so half of an antipodal grid is enough: 3 points at L = 1, 16 at L = 2 and 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.nn.tables import Tables
from equitensor.o3 import gaunt_coefficient, half_quadrature, spherical_harmonics
from equitensor.ops.contraction import transform
from equitensor.ops.mixed_product import mixed_product


class NaturalParityPaths(Tables):
    """z = sum over paths of s_p w_p W^p x y with weights shared by all items; features (N, d, C).

    Args:
        spaces: degrees of the irreps of x, y and z.
        paths: (i1, i2, i_out).
        scales: s_p.
    """

    def __init__(self, spaces: tuple, paths: list[tuple], scales: list[float]) -> None:
        super().__init__()
        degree = max(sum(space[i] for space, i in zip(spaces, path, strict=True)) for path in paths)
        points, weights = half_quadrature(degree)
        first, second, out = (_evaluate(space, points) for space in spaces)
        self.slots, self.num_points = tuple(map(len, spaces)), len(points)
        self.same_operands = spaces[0] == spaces[1]
        self.add_table("a", first)
        self.add_table("b", second)
        self.add_table("c", (out * weights.repeat(self.slots[2])[:, None]).T.contiguous())
        placement = torch.zeros(len(paths), *self.slots, dtype=torch.float64)
        for p, (path, scale) in enumerate(zip(paths, scales, strict=True)):
            placement[(p, *path)] = scale / gaunt_coefficient(*(s[i] for s, i in zip(spaces, path, strict=True)))
        self.add_table("placement", placement.flatten(1))

    def mixing(self, weight: Tensor | None, channels: int) -> Tensor:
        """Path weights (P, C), or None for ones, as one tensor between degrees per channel: (C, S1, S2, S3)."""
        mix = self.placement.sum(0).expand(channels, -1) if weight is None else weight.T @ self.placement
        return mix.unflatten(1, self.slots)

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        first = self._to_grid(self.a, x)
        second = first if y is x and self.same_operands else self._to_grid(self.b, y)
        return self._product(first, second, self.mixing(weight, x.shape[2])).permute(2, 1, 0)

    def powers(self, x: Tensor, order: int, weight: Tensor | None) -> list[Tensor]:
        """As ClebschGordanInteraction.powers, x evaluated on the grid once."""
        mix = self.mixing(weight, x.shape[2])
        factor = values = self._to_grid(self.a, x)
        terms = [x]
        while len(terms) < order:
            z = self._product(values, factor, mix)
            terms.append(z.permute(2, 1, 0))
            if len(terms) < order:
                values = transform(self.a, z).view(factor.shape)
        return terms

    def _to_grid(self, matrix: Tensor, x: Tensor) -> Tensor:
        """(N, d, C) -> (C, S, Q N): each degree by itself at every point."""
        items, _, channels = x.shape
        values = transform(matrix, x.permute(2, 1, 0).contiguous())
        return values.view(channels, matrix.shape[0] // self.num_points, self.num_points * items)

    def _product(self, first: Tensor, second: Tensor, mix: Tensor) -> Tensor:
        """(C, d3, N) of grid values."""
        z = mixed_product(first, second, mix)
        return transform(self.c, z.view(len(z), self.c.shape[1], first.shape[2] // self.num_points))


def _evaluate(degrees: tuple, points: Tensor) -> Tensor:
    """(S Q, d): the harmonics of each degree at all points, block-diagonal."""
    harmonics = spherical_harmonics(max(degrees), points)
    return torch.block_diag(*(harmonics[:, l * l : (l + 1) ** 2] for l in degrees))
