"""What a layer of cuEquivariance's computes, as our plans take it: instructions of a product, terms of a polynomial."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.interfaces.e3nn.instructions import Instruction, weight_shape
from equitensor.o3 import wigner_3j
from equitensor.o3.polynomial_blocks import PolynomialTerm

ROUNDING = 1e-2  # of the largest entry: what bfloat16 leaves; no two conventions are as near


class Polynomial(NamedTuple):
    """segments: of each term, for each path, its segment of every operand; constants by name, float64."""

    segments: list[list[tuple]]
    constants: dict[str, Tensor]

    def paths(self, term: int) -> list[tuple[tuple, Tensor]]:
        """(segments, constant) of every path of a term."""
        return [(own, self.constants[constant_name(term, i)]) for i, own in enumerate(self.segments[term])]

    def with_stored(self, stored: dict[str, Tensor]) -> Polynomial:
        """Itself, or with the stored constants where they are others, beyond rounding."""
        changed = {name: exactly(stored[name]) for name, own in self.constants.items() if _differs(own, stored, name)}
        return self._replace(constants=self.constants | changed) if changed else self


def constant_name(term: int, path: int) -> str:
    """Of a path's constant in their state dict."""
    return f"f.m.graphs.{term}.graph.c{path}"


def exactly(tensor: Tensor) -> Tensor:
    """A copy in float64, which later loads of a state dict leave alone."""
    return tensor.detach().to("cpu", torch.float64, copy=True)


def _differs(own: Tensor, stored: dict[str, Tensor], name: str) -> bool:
    if name not in stored or stored[name].shape != own.shape:
        return False
    return bool((exactly(stored[name]) - own).abs().max() > ROUNDING * own.abs().max())


def instruction(slots: list[int], constant: Tensor, irreps: tuple, mode: str) -> Instruction:
    """With the factor that a path's constant is of our coupling tensor, sign included.

    Raises:
        InputError: where it is another tensor.
    """
    (u, ir1), (v, ir2), (w, ir_out) = (space[slot] for space, slot in zip(irreps, slots, strict=True))
    coupling = wigner_3j(ir1.l, ir2.l, ir_out.l)
    factor = float((constant * coupling).sum() / coupling.square().sum())
    if (constant - factor * coupling).abs().max() > ROUNDING * constant.abs().max():
        raise InputError(f"its constants for {ir1} x {ir2} -> {ir_out} are not the coupling tensor of O(3)")
    i_in1, i_in2, i_out = slots
    return Instruction(i_in1, i_in2, i_out, mode, True, factor, weight_shape(mode, u, v, w))


def polynomial_term(paths: list[tuple[tuple, Tensor]], projection: Tensor | None, d_out: int) -> PolynomialTerm:
    """All paths of one order; a projection (weights, their paths) makes them of MACE's weights."""
    monomials = sorted({tuple(sorted(own[1:-1])) for own, _ in paths})
    place = {monomial: column for column, monomial in enumerate(monomials)}
    first = min(own[0] for own, _ in paths)
    own_paths = max(own[0] for own, _ in paths) + 1 - first
    coefficients = torch.zeros(own_paths, d_out, len(monomials), dtype=torch.float64)
    for (path, *factors, out), constant in paths:
        coefficients[path - first, out, place[tuple(sorted(factors))]] += constant
    if projection is not None:
        part = projection[:, first : first + own_paths]
        first, coefficients = 0, torch.tensordot(part, coefficients, dims=1)
        coefficients[coefficients.abs() < 1e-6 * coefficients.abs().max()] = 0
    return PolynomialTerm(first, 0, torch.tensor(monomials), coefficients)
