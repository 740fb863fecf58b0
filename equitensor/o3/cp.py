"""CP decompositions of coupling tensors, as in Tensor Decomposition Networks (Lin et al., NeurIPS 2025).

All paths are stacked in one tensor T = sum_p c_p W^p, W the Wigner 3j, and T_ijk ~ sum_r A_ri B_rj C_rk. The paths
share their weight: what can differ between channels is one factor of the whole tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.o3.gaunt_grid import stack_rows
from equitensor.o3.irreps import as_irreps
from equitensor.o3.paths import find_paths
from equitensor.o3.wigner import wigner_3j

if TYPE_CHECKING:
    from e3nn.o3 import Irreps

Matrices: TypeAlias = tuple[Tensor, Tensor, Tensor]  # A (R, d1), B (R, d2), C (R, d3)
Spaces: TypeAlias = "tuple[Irreps, Irreps, Irreps]"  # of both operands and the output


@dataclass(frozen=True)
class CPFactors:
    """A (R, d1), B (R, d2), C (R, d3), float64, for three irreps of multiplicity one, with their measured errors.

    Attributes:
        path_weights: c_p of the tensor that the factors stand for, in the order of find_paths("cp", *irreps).
        coupling_error: |sum_r a b c - T| / |T|, Frobenius norms.
        equivariance_error: root mean square over rotations of |R That - That| / |That|, That = sum_r a b c.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    irreps: Spaces
    path_weights: Tensor
    coupling_error: float
    equivariance_error: float

    @property
    def rank(self) -> int:
        return len(self.a)

    @classmethod
    def measure(cls, matrices: Matrices, irreps: Spaces, path_weights: Tensor | None = None) -> CPFactors:
        """The matrices A, B, C with their errors; path weights of one where none are given."""
        paths = len(find_paths("cp", *irreps))
        weights = torch.ones(paths, dtype=torch.float64) if path_weights is None else path_weights
        errors = measure_errors(matrices, irreps, weights)
        return cls(*matrices, irreps, weights, *errors)


def all_degrees(lmax: int) -> Spaces:
    """Three times "0e+1e+...": every coupling of degrees up to lmax, as TDN's layer has it (no inversion)."""
    space = as_irreps([(1, (l, 1)) for l in range(lmax + 1)])
    return space, space, space


def path_tensors(irreps1, irreps2, irreps_out) -> Tensor:
    """(P, d1, d2, d3), float64: W of each path of find_paths("cp", ...) in the place of its irreps.

    The irreps (e3nn Irreps) have multiplicity one. Paths are orthonormal: |W| = 1 and places differ.
    """
    spaces = (irreps1, irreps2, irreps_out)
    placed = list(_placed_couplings(spaces))
    stack = torch.zeros(len(placed), *(space.dim for space in spaces), dtype=torch.float64)
    for tensor, (place, coupling) in zip(stack, placed, strict=True):
        tensor[place] = coupling
    return stack


def _placed_couplings(irreps: Spaces) -> Iterator[tuple[tuple, Tensor]]:
    """Slices and Wigner 3j of each path."""
    slices = [space.slices() for space in irreps]
    for path in find_paths("cp", *irreps):
        place = tuple(s[i] for s, i in zip(slices, path, strict=True))
        yield place, wigner_3j(*(space[i].ir.l for space, i in zip(irreps, path, strict=True)))


def assemble(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The tensor (d1, d2, d3) that factors stand for."""
    return torch.einsum("rij,rk->ijk", a[:, :, None] * b[:, None, :], c)


def measure_errors(matrices: Matrices, irreps: Spaces, path_weights: Tensor) -> tuple[float, float]:
    """Coupling error and equivariance error of A, B, C for the tensor sum_p c_p W^p over three irreps.

    With That = I + N, I its part along the W^p, the mean over rotations of |R That - That|^2 is 2 |N|^2.
    """
    rest = assemble(*matrices)
    norm = float(rest.norm())
    projections = []
    for place, coupling in _placed_couplings(irreps):
        projections.append(float((rest[place] * coupling).sum()))
        rest[place] -= projections[-1] * coupling
    wrong = torch.tensor(projections, dtype=torch.float64) - path_weights
    off = math.hypot(float(rest.norm()), float(wrong.norm()))
    equivariance = math.sqrt(2) * float(rest.norm()) / norm if norm else math.inf
    return off / float(path_weights.norm()), equivariance


def on_parities(matrices: Matrices, irs1, irs2, irs_out) -> Matrices:
    """Factors T of all degrees 0 ... lmax turned into a product of irreps (sequences of Irrep) under O(3).

    With x = x_e + x_o by parity, z_e = T(x_e, y_e) + T(x_o, y_o) and z_o = T(x_e, y_o) + T(x_o, y_e): inversion
    is exact whatever T is. One evaluation of T for each pair of parities that occurs and has an output; where all
    three have both, two, since T(x_e + x_o, y_e + y_o) +- T(x_e - x_o, y_e - y_o) = 2 z_e, 2 z_o.
    """
    spaces = (irs1, irs2, irs_out)
    rows = [
        [_columns(irs, matrix, factors) for irs, matrix, factors in zip(spaces, matrices, term, strict=True)]
        for term in _parity_terms(*spaces)
    ]
    stacked = zip(*rows, strict=True) if rows else ((), (), ())
    a, b, c = (stack_rows(list(blocks), irs) for blocks, irs in zip(stacked, spaces, strict=True))
    return a, b, c


def _parity_terms(irs1, irs2, irs_out) -> list[tuple[dict, dict, dict]]:
    """Factors by parity for both operands and the output, one triple per evaluation."""
    first, second, out = ({ir.p for ir in irs} for irs in (irs1, irs2, irs_out))
    if len(first) == len(second) == len(out) == 2:
        return [({1: 1.0, -1: s}, {1: 1.0, -1: s}, {1: 0.5, -1: 0.5 * s}) for s in (1.0, -1.0)]
    return [({p: 1.0}, {q: 1.0}, {p * q: 1.0}) for p in first for q in second if p * q in out]


def _columns(irs, matrix: Tensor, factors: dict) -> Tensor:
    """Columns of (R, (lmax+1)^2) for the components of `irs`, each times the factor of its parity."""
    return torch.cat([factors.get(ir.p, 0.0) * matrix[:, ir.l**2 : (ir.l + 1) ** 2] for ir in irs], dim=1)


def factors_on(factors: CPFactors, irreps: Spaces) -> tuple[Matrices, Tensor]:
    """Matrices for three irreps of multiplicity one and the path weights that they stand for.

    Factors of all degrees up to some lmax (`all_degrees`) serve any irreps within it, others only their own.

    Raises:
        InputError: factors made for other irreps.
    """
    matrices, own = (factors.a, factors.b, factors.c), tuple(map(str, factors.irreps))
    if own == tuple(map(str, irreps)):
        return matrices, factors.path_weights
    general = all_degrees(len(factors.irreps[0]) - 1)
    if own != tuple(map(str, general)) or max(space.lmax for space in irreps) >= len(general[0]):
        made, wanted = (f"{one} x {other} -> {out}" for one, other, out in (own, irreps))
        raise InputError(f"the factors are for {made}, the layer is {wanted}: fit them for its irreps with o3.fit_cp")
    weights = dict(zip(find_paths("cp", *general), factors.path_weights, strict=True))
    spaces = ([ir for _, ir in space] for space in irreps)
    return on_parities(matrices, *spaces), in_path_order(weights, irreps)


def in_path_order(weights: dict[tuple, Tensor], irreps: Spaces) -> Tensor:
    """(P,) weights by (l1, l2, l3) for the paths of find_paths("cp", *irreps)."""
    degrees = [[ir.l for _, ir in space] for space in irreps]
    paths = (tuple(d[i] for d, i in zip(degrees, path, strict=True)) for path in find_paths("cp", *irreps))
    return torch.stack([torch.as_tensor(weights.get(path, 0.0), dtype=torch.float64) for path in paths])
