"""Fits of a CP decomposition T_ijk = sum_r A_ri B_rj C_rk: regularised ALS, then Levenberg-Marquardt, float64.

The normal matrix of the least-squares problem has a closed form in the Gram matrices of the factors, so a step
costs one Cholesky decomposition of size R (d1 + d2 + d3) and converges quadratically near a solution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.o3.cp import CPFactors, Matrices, Spaces, all_degrees, assemble, path_tensors
from equitensor.o3.irreps import IrrepsLike, as_irreps

MAX_CANCELLATION = 100.0  # a fit whose terms cancel more than this loses two digits: degenerate
GOOD_CANCELLATION = 12.0
SWEEPS = 60
ROUNDING = 1e-15


def fit_cp(
    irreps: int | Sequence[IrrepsLike], rank: int, path_weights: Tensor | None = None, **options: Any
) -> CPFactors:
    """CP factors of rank `rank` for sum_p c_p W^p, with their errors; `Interaction(..., factors=...)` takes them.

    Args:
        irreps: lmax (all degrees up to it, parity left out: the layer sees to it), or three irreps such as
            ("0e+1o", "0e+1o", "0e+1o+1e"), for which only the paths between them are fitted.
        path_weights: c_p in the order of find_paths("cp", *irreps); one if left out.
        options: starts, seed, ridge, steps and tolerance of `fit_factors`.
    Raises:
        InputError: as `fit_factors`, irreps that do not couple, or path weights of the wrong number.
    """
    spaces = all_degrees(irreps) if isinstance(irreps, int) else _multiplicity_one(irreps)
    stack = path_tensors(*spaces)
    weights = torch.ones(len(stack), dtype=torch.float64) if path_weights is None else path_weights.double()
    if weights.shape != (len(stack),):
        raise InputError(f"path_weights has shape {tuple(weights.shape)}: expected ({len(stack)},), one per path")
    matrices = fit_factors(torch.tensordot(weights, stack, 1), rank, **options)
    return CPFactors.measure(matrices, spaces, weights)


def _multiplicity_one(irreps: Sequence[IrrepsLike]) -> Spaces:
    spaces = [as_irreps(own) for own in irreps]
    if len(spaces) != 3 or any(mul != 1 for space in spaces for mul, _ in space):
        raise InputError(f"irreps are {irreps}: give lmax, or three irreps of multiplicity one")
    return spaces[0], spaces[1], spaces[2]


def fit_factors(
    target: Tensor,
    rank: int,
    starts: int = 5,
    seed: int = 0,
    ridge: float = 0.0,
    steps: int = 300,
    tolerance: float = 1e-13,
) -> Matrices:
    """A (R, d1), B (R, d2), C (R, d3), float64, with sum_r A_ri B_rj C_rk close to target (d1, d2, d3).

    `ridge` adds ridge |T|^2 (|A|^2 + |B|^2 + |C|^2) to the squared error: below the exact rank the best factors run
    off to infinity, and 1e-7 keeps them in reach. Of `starts` random starts (seeds seed, seed + 1, ...) the one of
    smallest relative error that does not cancel heavily; among those below `tolerance`, the one that cancels least.
    A start that is exact and cancels little ends the search. Columns come with equal norms.

    Raises:
        InputError: a target that is not a finite, non-zero 3-tensor, or a rank or number of starts below one.
    """
    target = _checked(target, rank, starts)
    scores, fits = [], []
    for start in range(starts):
        factors = balanced(_fit_once(target, rank, seed + start, ridge, steps))
        error = relative_error(factors, target)
        lost = cancellation(factors)
        scores.append((lost > MAX_CANCELLATION, max(error, tolerance), lost))
        fits.append(factors)
        if error < tolerance and lost < GOOD_CANCELLATION:
            break
    return fits[scores.index(min(scores))]


def relative_error(factors: Matrices, target: Tensor) -> float:
    """|sum_r a b c - T| / |T|, Frobenius norms."""
    return float((assemble(*factors) - target).norm() / target.norm())


def cancellation(factors: Matrices) -> float:
    """|sum_r |a| |b| |c|| / |T|: by how much rounding errors of the terms are larger than those of the sum."""
    return float(assemble(*(f.abs() for f in factors)).norm() / assemble(*factors).norm())


def balanced(factors: Sequence[Tensor]) -> Matrices:
    """The same tensor with |a_r| = |b_r| = |c_r| for each r."""
    a, b, c = factors
    norms = torch.stack([f.norm(dim=1) for f in factors])
    scale = norms.prod(0) ** (1 / 3) / norms.clamp_min(1e-300)
    return a * scale[0, :, None], b * scale[1, :, None], c * scale[2, :, None]


def _checked(target: Tensor, rank: int, starts: int) -> Tensor:
    if target.dim() != 3 or not target.numel():
        raise InputError(f"the target has shape {tuple(target.shape)}: give a tensor (d1, d2, d3)")
    if not (bool(target.isfinite().all()) and bool(target.any())):
        raise InputError("the target must be finite and not all zero")
    if rank < 1 or starts < 1:
        raise InputError(f"rank is {rank} and starts {starts}: both must be at least 1")
    return target.double()


def _fit_once(target: Tensor, rank: int, seed: int, ridge: float, steps: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    norm = float(target.norm())
    scale = norm ** (1 / 3) / rank ** (1 / 6)
    factors = [
        torch.randn(rank, d, generator=generator, dtype=torch.float64) * scale / math.sqrt(d) for d in target.shape
    ]
    for sweep in range(SWEEPS):
        factors = _als_sweep(factors, target, ridge=max(0.1 * norm**2 / rank * 0.7**sweep, 1e-6))
    return refine(factors, target, ridge, steps)


def _als_sweep(factors: list[Tensor], target: Tensor, ridge: float) -> list[Tensor]:
    factors = list(factors)
    for axis in range(3):
        matrix = _gram_of_others(factors, axis)
        matrix.diagonal().add_(ridge)
        factors[axis] = torch.linalg.solve(matrix, pulled(factors, target, axis) + ridge * factors[axis])
    return factors


def _gram_of_others(factors: list[Tensor], axis: int) -> Tensor:
    first, second = (f for other, f in enumerate(factors) if other != axis)
    return (first @ first.T) * (second @ second.T)


def pulled(factors: list[Tensor], tensor: Tensor, axis: int) -> Tensor:
    """(R, d_axis): the tensor contracted with the other two factors."""
    first, second = (f for other, f in enumerate(factors) if other != axis)
    pairs = (first[:, :, None] * second[:, None, :]).flatten(1)
    return pairs @ tensor.movedim(axis, 2).flatten(0, 1)


def refine(factors: list[Tensor], target: Tensor, ridge: float, steps: int) -> list[Tensor]:
    """Levenberg-Marquardt from given factors; `ridge` as in `fit_factors`."""
    form = FreeFactors([f.shape for f in factors])
    theta = torch.cat([f.flatten() for f in factors])
    norm = float(target.norm())
    return form.factors(levenberg_marquardt(form, theta, target, ridge * norm**2, steps, ROUNDING * norm))


class FreeFactors:
    """A, B and C one after another as one vector of unknowns."""

    copies = 1

    def __init__(self, shapes: list[torch.Size]) -> None:
        self.shapes = shapes

    def factors(self, theta: Tensor) -> list[Tensor]:
        parts = theta.split([shape.numel() for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def gradient(self, factors: list[Tensor], residual: Tensor) -> Tensor:
        """J^T residual."""
        return torch.cat([pulled(factors, residual, axis).flatten() for axis in range(3)])

    def normal(self, factors: list[Tensor]) -> Tensor:
        """J^T J over all entries, factor after factor, each row-major in (r, i)."""
        rows = []
        for m in range(3):
            blocks = [normal_block(factors, m, n) for n in range(3)]
            rows.append(torch.cat([b.reshape(factors[m].numel(), -1) for b in blocks], dim=1))
        return torch.cat(rows)


def normal_block(factors: list[Tensor], m: int, n: int) -> Tensor:
    """J^T J between entries (r, i) of factor m and (s, j) of factor n: (R, d_m, R, d_n)."""
    if m == n:
        eye = torch.eye(factors[m].shape[1], dtype=torch.float64)
        return torch.einsum("rs,ij->risj", _gram_of_others(factors, m), eye)
    third = factors[3 - m - n]
    return torch.einsum("rs,si,rj->risj", third @ third.T, factors[m], factors[n])


def levenberg_marquardt(form, theta: Tensor, target: Tensor, ridge: float, steps: int, goal: float) -> Tensor:
    """Damped Gauss-Newton steps with Nielsen's rule for the damping, until |residual| < goal or no step helps.

    `form` makes factors, gradient and normal matrix of the unknowns theta, each of which occurs `copies` times in them.
    """
    ridge = form.copies * ridge
    factors = form.factors(theta)
    residual = assemble(*factors) - target
    cost = float(residual.square().sum() + ridge * theta.square().sum())
    damping, growth = 1e-2, 2.0
    for _ in range(steps):
        normal = form.normal(factors)
        normal.diagonal().add_(ridge)
        gradient = form.gradient(factors, residual) + ridge * theta
        while True:
            step = _damped_step(normal, gradient, damping)
            trial = form.factors(theta + step)
            new = assemble(*trial) - target
            gain = cost - float(new.square().sum() + ridge * (theta + step).square().sum())
            if gain > 0:
                break
            damping, growth = damping * growth, growth * 2
            if damping > 1e8:
                return theta
        expected = float(step @ (damping * step - gradient))
        damping = max(damping * max(1 / 3, 1 - (2 * gain / max(expected, 1e-300) - 1) ** 3), 1e-15)
        theta, factors, residual, growth, cost = theta + step, trial, new, 2.0, cost - gain
        if residual.norm() < goal or gain < 1e-9 * cost:
            break
    return theta


def _damped_step(normal: Tensor, gradient: Tensor, damping: float) -> Tensor:
    damped = normal.clone()
    while True:
        damped.diagonal().copy_(normal.diagonal() + damping)
        triangle, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            return -torch.cholesky_solve(gradient[:, None], triangle)[:, 0]
        damping = 4 * damping + 1e-14
