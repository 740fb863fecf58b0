"""The default factors of the CP product: exactly equivariant under O(3), the fewest rows that make every path."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.o3.cp import CPFactors, Matrices, Spaces, factors_on, in_path_order, on_parities
from equitensor.o3.cp_table import CHOSEN_RANKS, chosen_factors, factors_of_rank, factors_within
from equitensor.o3.gaunt import gaunt_coefficient
from equitensor.o3.gaunt_grid import gaunt_grid
from equitensor.o3.poisson import poisson_coefficient, poisson_grid

Degrees: TypeAlias = tuple[int, int, int]


class CPProduct(NamedTuple):
    """z = C^T [(A x) * (B y)]: A (R, d1), B (R, d2), C (R, d3), float64, for the path weights c_p."""

    a: Tensor
    b: Tensor
    c: Tensor
    source: str
    path_weights: Tensor


class GridProduct(NamedTuple):
    """The same matrices from quadrature grids; the weights of paths by their degrees (l1, l2, l3)."""

    matrices: Matrices
    source: str
    weights: dict[Degrees, Tensor]


def cp_product(
    irreps: Spaces, rank: int | None = None, tolerance: float | None = None, factors: CPFactors | None = None
) -> CPProduct:
    """The matrices of a CP product between three irreps of multiplicity one.

    Without options the exactly equivariant `default_product`. `rank` and `tolerance` take the shipped factors of
    all unit paths up to the largest degree, `factors` those that are given; see `o3.cp.on_parities` for O(3).

    Raises:
        InputError: more than one option, nothing shipped that meets them, factors for other irreps.
    """
    given = [
        name for name, value in (("rank", rank), ("tolerance", tolerance), ("factors", factors)) if value is not None
    ]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} are given: a CP product takes one of them")
    if factors is not None and not isinstance(factors, CPFactors):
        raise InputError(f"factors is a {type(factors).__name__}: give the CPFactors that o3.fit_cp returns")
    lmax = max(space.lmax for space in irreps)
    if rank is not None:
        factors = factors_of_rank(lmax, rank)
    elif tolerance is not None:
        factors = factors_within(lmax, tolerance)
    return _of_factors(factors, irreps) if factors else default_product(*irreps)


def default_product(irreps1, irreps2, irreps_out) -> CPProduct:
    """The exactly equivariant product with the fewest rows.

    Up to degree 2 the factors of chosen path weights, rank 7 and 24 for one parity, twice that for both; or the
    quadrature grid for even l1 + l2 + l3 (6, 18, 32, 60 points), with Poisson brackets (twice 6, 12, 32, 60) for
    odd ones. Path weights are near one in magnitude in all of them.
    """
    irreps = (irreps1, irreps2, irreps_out)
    grids = [form(*([ir for _, ir in space] for space in irreps)) for form in (grid_product, grid_over_parities)]
    candidates = [CPProduct(*grid.matrices, grid.source, in_path_order(grid.weights, irreps)) for grid in grids]
    lmax = max(space.lmax for space in irreps)
    if lmax in CHOSEN_RANKS:
        candidates.insert(0, _of_factors(chosen_factors(lmax), irreps))
    return min(candidates, key=lambda product: len(product.a))


def _of_factors(factors: CPFactors, irreps: Spaces) -> CPProduct:
    matrices, weights = factors_on(factors, irreps)
    count = len(matrices[0]) // factors.rank
    return CPProduct(*matrices, f"{count} x rank {factors.rank}" if count > 1 else f"rank {factors.rank}", weights)


def grid_product(irs1, irs2, irs_out) -> GridProduct:
    """Gaunt and Poisson grids on top of each other, degrees rescaled so that path weights are near one."""
    spaces = (irs1, irs2, irs_out)
    parts, sources = [], []
    weights: dict[Degrees, Tensor] = {}
    for name, grid, coefficient in (
        ("grid", gaunt_grid, gaunt_coefficient),
        ("Poisson brackets", poisson_grid, poisson_coefficient),
    ):
        paths = sorted({(i.l, j.l, k.l) for i in irs1 for j in irs2 for k in irs_out if i.p * j.p == k.p})
        sizes = {path: size for path in paths if (size := coefficient(*path))}
        if sizes:
            inner, outer = balanced_degrees(list(sizes), torch.tensor(list(sizes.values()), dtype=torch.float64))
            scales = (inner, inner, outer)
            parts.append([_rescaled(m, *pair) for m, *pair in zip(grid(*spaces), spaces, scales, strict=True)])
            sources.append(f"{name} of {len(parts[-1][0])} rows")
            weights |= {(i, j, k): size * inner[i] * inner[j] * outer[k] for (i, j, k), size in sizes.items()}
    a, b, c = (torch.cat(blocks) for blocks in zip(*parts, strict=True))
    return GridProduct((a, b, c), " and ".join(sources), weights)


def grid_over_parities(irs1, irs2, irs_out) -> GridProduct:
    """Both grids as one tensor of all degrees, evaluated by parity: half the rows where all irreps are even."""
    spaces = (irs1, irs2, irs_out)
    natural = [[type(irs1[0])(l, (-1) ** l) for l in range(1 + max(ir.l for ir in irs))] for irs in spaces]
    pseudo = [type(ir)(ir.l, -ir.p) for ir in natural[2]]
    (a, b, c), source, weights = grid_product(natural[0], natural[1], natural[2] + pseudo)
    matrices = on_parities((a, b, c[:, : c.shape[1] // 2] + c[:, c.shape[1] // 2 :]), *spaces)
    count = len(matrices[0]) // len(a)
    return GridProduct(matrices, source if count == 1 else f"{count} x ({source})", weights)


def balanced_degrees(paths: list[Degrees], weights: Tensor) -> tuple[Tensor, Tensor]:
    """Scales u, v by degree that bring all w_p u_l1 u_l2 v_l3 as near to one as can be: least squares of logarithms.

    Both operands share u, so that a product that is symmetric or antisymmetric under their exchange stays so.
    """
    size = 1 + max(max(path) for path in paths)
    design = torch.zeros(len(paths), 2 * size, dtype=torch.float64)
    for row, (l1, l2, l3) in zip(design, paths, strict=True):
        for column in (l1, l2, size + l3):
            row[column] += 1
    logarithms = torch.linalg.lstsq(design, -weights.log()[:, None], driver="gelsd").solution[:, 0]
    return logarithms[:size].exp(), logarithms[size:].exp()


def _rescaled(matrix: Tensor, irs, scale: Tensor) -> Tensor:
    """Columns times the scale of their degree; a degree beyond `scale` is in no path."""
    padded = torch.cat([scale, scale.new_ones(1)])
    degrees = torch.tensor([min(ir.l, len(scale)) for ir in irs])
    return matrix * padded[degrees].repeat_interleave(torch.tensor([ir.dim for ir in irs]))
