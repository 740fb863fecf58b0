"""What `Linear` multiplies with what: blocks of its features, parts of its weights.

TorchScript reads the annotations, unquoted: no `from __future__ import annotations` here.
"""

import math
from itertools import pairwise
from typing import NamedTuple


class LinearInstruction(NamedTuple):
    """As e3nn's: slots (i_in -1 for a bias), shape of the weights, factor."""

    i_in: int
    i_out: int
    path_shape: tuple
    path_weight: float


class Output(NamedTuple):
    """One output slot: 2 l + 1, copies; for each term block, its copies, part of the weights and factor; start of the
    bias, -1 for none."""

    dim: int
    mul: int
    slots: list[int]
    copies: list[int]
    parts: list[int]
    factors: list[float]
    bias: int


class Term(NamedTuple):
    """One matrix: the features that it takes, the output slot and the factor."""

    start: int
    end: int
    out: int
    factor: float


def plan(instructions: list[LinearInstruction], irreps_in, irreps_out) -> tuple[list[Output], list[int], list[int]]:
    """Outputs, and the sizes of the blocks of features and of the parts of the weights."""
    terms, biases, bias = [], {}, 0
    for item in instructions:
        if item.i_in < 0:
            biases[item.i_out] = bias
            bias += math.prod(item.path_shape)
        elif 0 not in item.path_shape:
            space = irreps_in.slices()[item.i_in]
            terms.append(Term(space.start, space.stop, item.i_out, item.path_weight))
    together = side_by_side(terms)
    terms = together if disjoint(together) else terms
    cuts = sorted({0, irreps_in.dim, *(end for term in terms for end in term[:2])})
    outputs = [Output(ir.dim, mul, [], [], [], [], biases.get(i, -1)) for i, (mul, ir) in enumerate(irreps_out)]
    sizes = []
    for term in terms:
        out = outputs[term.out]
        copies = (term.end - term.start) // out.dim
        add_term(out, cuts.index(term.start), copies, len(sizes), term.factor)
        sizes.append(copies * out.mul)
    return outputs, [end - start for start, end in pairwise(cuts)], sizes


def add_term(out: Output, slot: int, copies: int, part: int, factor: float) -> None:
    """One more term of an output."""
    out.slots.append(slot)
    out.copies.append(copies)
    out.parts.append(part)
    out.factors.append(factor)


def side_by_side(terms: list[Term]) -> list[Term]:
    """Neighbours among the weights that are so among the features too, of one output and factor, as one term."""
    joined: list[Term] = []
    for term in terms:
        if joined and joined[-1][1:] == (term.start, term.out, term.factor):
            joined[-1] = joined[-1]._replace(end=term.end)
        else:
            joined.append(term)
    return joined


def disjoint(terms: list[Term]) -> bool:
    """Whether no block of features overlaps another, unless they are equal."""
    return all(before[1] <= after[0] for before, after in pairwise(sorted({term[:2] for term in terms})))
