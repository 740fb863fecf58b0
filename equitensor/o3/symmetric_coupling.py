"""Generalised Clebsch-Gordan coupling of a feature with itself: z_M = sum_t U_Mt (monomial t of x), every path.

Drautz, Phys. Rev. B 99, 014104 (2019); Batatia et al., "MACE", NeurIPS 2022, eq. 10. The paths of one order and
one output are the symmetric equivariant tensors, one orthonormal basis of them for each multiset of irreps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.o3.wigner import wigner_3j

INDEPENDENT = 1e-8  # norm of what is left of a unit path beside the earlier ones


class SymmetricPaths(NamedTuple):
    """All paths of one order to one irrep.

    slots: the irreps of x that each path couples, ascending; monomials (t, order): components of x, ascending;
    coefficients (paths, 2 l + 1, t), float64.
    """

    slots: tuple[tuple[int, ...], ...]
    monomials: Tensor
    coefficients: Tensor


def symmetric_paths(irs, ir_out, order: int) -> SymmetricPaths:
    """The independent couplings of `order` copies of one feature (a sequence of e3nn Irrep) to `ir_out`.

    Scaled such that z has unit variance (beside the mean and other lower orders that x x contains) for normal
    deviates x; sign and order do not depend on rounding. No paths at all where symmetry or parity forbids them.
    """
    starts = torch.tensor([0, *(ir.dim for ir in irs)]).cumsum(0).tolist()
    slots, parts = [], []
    for chosen in combinations_with_replacement(range(len(irs)), order):
        if math.prod(irs[s].p for s in chosen) != ir_out.p:
            continue
        components = [range(starts[s], starts[s + 1]) for s in chosen]
        monomials, member = distinct_monomials(torch.cartesian_prod(*map(torch.tensor, components)).view(-1, order))
        basis: list[Tensor] = []
        for chain in _chains(tuple(irs[s].l for s in chosen), ir_out.l):
            _add_independent(basis, sum_over_permutations(chain.flatten(1), member, len(monomials)), monomials)
        slots += [chosen] * len(basis)
        if basis:
            parts.append((monomials, torch.stack(basis)))
    return SymmetricPaths(tuple(slots), *_side_by_side(parts, order, ir_out.dim))


def distinct_monomials(indices: Tensor) -> tuple[Tensor, Tensor]:
    """Products x_i x_j ... of the rows of `indices` (n, order): the distinct ones (t, order), and which each is."""
    return torch.unique(indices.sort(dim=1).values, dim=0, return_inverse=True)


def sum_over_permutations(tensor: Tensor, member: Tensor, count: int) -> Tensor:
    """(..., n) entries to (..., count) coefficients of monomials, entries of the same one added."""
    return tensor.new_zeros(*tensor.shape[:-1], count).index_add_(-1, member, tensor)


@cache
@torch.inference_mode(False)  # what is kept must serve training too
def _chains(degrees: tuple[int, ...], l_out: int) -> tuple[Tensor, ...]:
    """((l1 l2) l12 l3) l123 ... -> l_out: every chain as a tensor (2 l_out + 1, 2 l1 + 1, ...)."""
    if len(degrees) == 1:
        return (torch.eye(2 * l_out + 1, dtype=torch.float64),) if degrees[0] == l_out else ()
    *left, last = degrees
    chains = []
    for l in range(abs(l_out - last), l_out + last + 1):
        coupling = wigner_3j(l_out, l, last)
        chains += [torch.einsum("zai,a...->z...i", coupling, chain) for chain in _chains(tuple(left), l)]
    return tuple(chains)


def _add_independent(basis: list[Tensor], candidate: Tensor, monomials: Tensor) -> None:
    """Gram-Schmidt in the rotation-invariant norm of symmetric tensors, |z|^2 = sum_t (product of n_i!) z_t^2."""
    weight = _multiplicity(monomials)
    size = float((candidate.square() * weight).sum().sqrt())
    if size < INDEPENDENT:
        return
    rest, scale = candidate / size, candidate.shape[0]
    for _ in range(2):  # twice, so that rounding does not accumulate
        for path in basis:
            rest = rest - (rest * path * weight).sum() / scale * path
    norm = float((rest.square() * weight).sum().sqrt())
    if norm > INDEPENDENT:
        basis.append(rest * (math.sqrt(scale) / norm))


def _multiplicity(monomials: Tensor) -> Tensor:
    """(t,): the product over components of (how often it occurs)!."""
    same = monomials[:, :, None] == monomials[:, None, :]
    # The n-th of equal components counts n: 1 x 2 x ... over each run.
    return torch.tril(same).sum(2).prod(1).to(torch.float64)


def _side_by_side(parts: list[tuple[Tensor, Tensor]], order: int, size: int) -> tuple[Tensor, Tensor]:
    """Block-diagonal: every multiset of irreps has monomials of its own."""
    if not parts:
        return torch.zeros(0, order, dtype=torch.long), torch.zeros(0, size, 0, dtype=torch.float64)
    monomials = torch.cat([part[0] for part in parts])
    coefficients = torch.zeros(sum(len(c) for _, c in parts), size, len(monomials), dtype=torch.float64)
    row = column = 0
    for own, block in parts:
        coefficients[row : row + len(block), :, column : column + len(own)] = block
        row, column = row + len(block), column + len(own)
    return monomials, coefficients


def coupling_chains(irs, order: int, sign, allowed=None, last=None) -> Iterator[tuple]:
    """Every chain of couplings of `order` copies, not symmetrised: (irrep, tensor (2 l + 1, d, ..., d)).

    Sorted by the irrep of each partial coupling, then by the next slot: the paths of MACE's contraction. Each step
    is sqrt(2 l + 1) sign(l, l_left, l_next) W.

    Args:
        sign: of the coupling tensor of three degrees, beside ours.
        allowed: which irreps may appear in and after a coupling; all by default.
        last: the only irrep wanted in the end; all by default.
    """
    starts = torch.tensor([0, *(ir.dim for ir in irs)]).cumsum(0).tolist()
    if order == 1:
        unit = torch.eye(starts[-1], dtype=torch.float64)
        yield from ((ir, unit[a:b]) for ir, a, b in zip(irs, starts, starts[1:], strict=False) if last in (None, ir))
        return
    chains = []
    for left, chain in coupling_chains(irs, order - 1, sign, allowed):
        for slot, ir in enumerate(irs):
            for out in left * ir:
                if (allowed and not allowed(out)) or last not in (None, out):
                    continue
                step = math.sqrt(out.dim) * sign(out.l, left.l, ir.l) * wigner_3j(out.l, left.l, ir.l)
                tensor = torch.zeros(*(out.dim, *chain.shape[1:], starts[-1]), dtype=torch.float64)
                tensor[..., starts[slot] : starts[slot + 1]] = torch.einsum("zai,a...->z...i", step, chain)
                chains.append((out, tensor))
    yield from sorted(chains, key=lambda item: item[0])
