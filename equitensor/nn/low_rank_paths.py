"""Clebsch-Gordan paths by exact factors, C^T [(A x) * (B y)], with the weight of each path free.

Factors of the sum of all couplings hold each of them: W^p_ijk = sum_r A_ri B_rj C_rk on the components of path p. So
A x and B y are kept apart by degree, a small matrix between degrees holds the path weights, and one set of
8, 30 or 90 rows (lmax 1, 2, 3) serves every path. Between true signals half a quadrature grid does with fewer.
"""

from __future__ import annotations

import torch

from equitensor.errors import InputError
from equitensor.nn.natural_parity import NaturalParityPaths
from equitensor.nn.tables import Tables
from equitensor.o3.cp_table import factors_of_rank

EXACT_RANKS = {0: 8, 1: 8, 2: 30, 3: 90}


class LowRankPaths(NaturalParityPaths):
    """z = sum over paths of s_p w_p W^p x y with weights shared by all items; features (N, d, C).

    Args:
        spaces: degrees of the irreps of x, y and z.
        paths: (i1, i2, i_out).
        scales: s_p.
    Raises:
        InputError: degrees above 3, for which no exact factors are shipped.
    """

    def __init__(self, spaces: tuple, paths: list[tuple], scales: list[float]) -> None:
        Tables.__init__(self)
        lmax = max(map(max, spaces))
        if lmax not in EXACT_RANKS:
            raise InputError(f"form='low_rank' has exact factors to degree 3, not {lmax}: take form='paths'")
        factors = factors_of_rank(max(lmax, 1), EXACT_RANKS[lmax])
        matrices = (factors.a, factors.b, factors.c)
        first, second, out = (_by_degree(*pair) for pair in zip(matrices, spaces, strict=True))
        self.slots, self.num_points = tuple(map(len, spaces)), factors.rank
        self.same_operands = spaces[0] == spaces[1] and torch.equal(factors.a, factors.b)
        self.add_table("a", first)
        self.add_table("b", second)
        self.add_table("c", out.T.contiguous())
        placement = torch.zeros(len(paths), *self.slots, dtype=torch.float64)
        for p, (path, scale) in enumerate(zip(paths, scales, strict=True)):
            placement[(p, *path)] = scale
        self.add_table("placement", placement.flatten(1))


def _by_degree(matrix: torch.Tensor, degrees: tuple) -> torch.Tensor:
    """(S R, d): the columns of each irrep in rows of its own."""
    return torch.block_diag(*(matrix[:, l * l : (l + 1) ** 2] for l in degrees))
