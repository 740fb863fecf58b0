"""Equivariant polynomials z_M = sum_t c_Mt (monomial t of x) as small dense blocks, one per symmetry class.

A monomial x_i x_j x_k with i <= j <= k is split into a column x_i x_j and a factor x_k, so that z_M = sum_k x_k T_Mk
with T = c (columns) a matrix product. Mirror planes make rows (M, k) and columns fall into classes that do not mix.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NEGLIGIBLE = 1e-13  # of the largest coefficient


class PolynomialTerm(NamedTuple):
    """Some paths of one order to one output: monomials (t, order), coefficients (paths, size, t).

    path, component: where its paths start among all weights, and its output among all components.
    """

    path: int
    component: int
    monomials: Tensor
    coefficients: Tensor


class PolynomialBlocks(NamedTuple):
    """How to evaluate a sum of such terms of x (d,), with x_d = 1 appended.

    products: stages of (i, j); the columns are v = x_i x_j, then v = v_i x_j with the v before, and so on.
    blocks: (first row, rows, first column, columns) of each dense block, all rows and all columns in order.
    matrix: (all paths, sum of rows times columns), blocks one after another: weights times it are the coefficients.
    component, factor: (R,) M and k of each row.
    """

    products: list[tuple[Tensor, Tensor]]
    blocks: list[tuple[int, int, int, int]]
    matrix: Tensor
    component: Tensor
    factor: Tensor


def polynomial_blocks(terms: list[PolynomialTerm], d: int, paths: int, overhead: int) -> PolynomialBlocks:
    """Blocks of a sum of terms in d variables with `paths` weights.

    Args:
        overhead: a further block costs as much as this many coefficients, so that small classes share one.
    """
    entries = _entries(terms)
    row_place, column_place, row_start, column_start = {}, {}, {}, {}
    blocks, size = [], 0
    for own_rows, own_columns in _merged(_classes(entries), overhead):
        blocks.append((len(row_place), len(own_rows), len(column_place), len(own_columns)))
        row_start |= {row: size + n * len(own_columns) for n, row in enumerate(own_rows)}
        column_start |= dict.fromkeys(own_columns, len(column_place))
        row_place |= {row: len(row_place) + n for n, row in enumerate(own_rows)}
        column_place |= {column: len(column_place) + n for n, column in enumerate(own_columns)}
        size += len(own_rows) * len(own_columns)
    place = {(r, c): row_start[r] + column_place[c] - column_start[c] for r, c in entries}
    matrix = torch.zeros(paths, size, dtype=torch.float64)
    for (row, column), parts in entries.items():
        for path, values in parts:
            matrix[path : path + len(values), place[row, column]] += values
    table = torch.tensor(list(row_place), dtype=torch.long).view(-1, 2)
    return PolynomialBlocks(_products(list(column_place), d), blocks, matrix, table[:, 0], table[:, 1])


def _entries(terms: list[PolynomialTerm]) -> dict[tuple, list]:
    """(row, column) -> [(first path, values of the paths)] of every coefficient that is not zero."""
    largest = max((float(term.coefficients.abs().max()) for term in terms if term.coefficients.numel()), default=0.0)
    entries: dict[tuple, list] = {}
    for term in terms:
        present = (term.coefficients.abs() > NEGLIGIBLE * largest).any(0)
        monomials = term.monomials.tolist()
        for m, t in present.nonzero().tolist():
            *rest, last = monomials[t]
            key = ((term.component + m, last), tuple(rest))
            entries.setdefault(key, []).append((term.path, term.coefficients[:, m, t]))
    return entries


def _classes(entries) -> list[tuple[list, list]]:
    """Connected components of the graph between rows and columns, each sorted."""
    leader: dict = {}

    def find(node):
        while leader.setdefault(node, node) != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for row, column in entries:
        leader[find(("row", row))] = find(("column", column))
    members: dict = {}
    for kind, key in sorted(leader, key=lambda node: (node[0], len(node[1]), node[1])):
        members.setdefault(find((kind, key)), {"row": [], "column": []})[kind].append(key)
    return [(group["row"], group["column"]) for group in members.values()]


def _merged(classes: list[tuple[list, list]], overhead: int) -> list[tuple[list, list]]:
    """Two classes become one block, zeros between them, as long as that costs less than a block of its own."""
    classes = list(classes)
    while len(classes) > 1:
        pairs = [(i, j) for j in range(len(classes)) for i in range(j)]
        zeros = {(i, j): _zeros_between(classes[i], classes[j]) for i, j in pairs}
        i, j = min(pairs, key=zeros.__getitem__)
        if zeros[i, j] > overhead:
            break
        (rows, columns), (more_rows, more_columns) = classes[i], classes.pop(j)
        classes[i] = (rows + more_rows, columns + more_columns)
    return classes


def _zeros_between(one: tuple[list, list], other: tuple[list, list]) -> int:
    return len(one[0]) * len(other[1]) + len(other[0]) * len(one[1])


def _products(columns: list[tuple], d: int) -> list[tuple[Tensor, Tensor]]:
    """Stages that build all columns; the constant 1 is variable d."""
    longest = max([2, *map(len, columns)])
    wanted = [column + (d,) * (longest - len(column)) for column in columns]
    stages = []
    while longest > 2:
        longest -= 1
        shorter = list(dict.fromkeys(column[:-1] for column in wanted))
        place = {column: n for n, column in enumerate(shorter)}
        stages.append(([place[column[:-1]] for column in wanted], [column[-1] for column in wanted]))
        wanted = shorter
    stages.append(([column[0] for column in wanted], [column[1] for column in wanted]))
    return [(torch.tensor(i, dtype=torch.long), torch.tensor(j, dtype=torch.long)) for i, j in reversed(stages)]
