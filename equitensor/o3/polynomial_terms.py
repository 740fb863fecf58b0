"""The same polynomials as `polynomial_blocks`, entry by entry, for kernels that follow a list of terms."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.o3.polynomial_blocks import NEGLIGIBLE, PolynomialBlocks


class PolynomialTerms(NamedTuple):
    """z_M = sum over entries of W x_k v_node, with nodes v = x_0 .. x_{d-1}, 1, then products v_left x_right.

    Entries lie in two orders, each in groups that share two of (M, k, node): by (M, k), and by the monomial (node, k).
    An entry's coefficient is W = sum of weight[path] basis[path, position].

    table, int32, one after another: left, right (products,); then for each order outer, factor, end (groups,) with
    outer = M or node, inner, stop (entries,) with inner = node or M, and path, position (weights,). `end` and `stop`
    say where a group's entries and an entry's weights end.
    sizes: d, outputs, products, groups of both orders, entries, weights.
    """

    table: Tensor
    sizes: list[int]


def polynomial_terms(plan: PolynomialBlocks, basis: Tensor, d: int, outputs: int) -> PolynomialTerms:
    """Those entries of a plan whose coefficients do not vanish for every path of `basis` (paths, size of the plan)."""
    monomials = _columns(plan, d)
    nodes = _nodes(monomials, d)
    largest = float(basis.abs().max()) if basis.numel() else 0.0
    place, path = (basis.abs() > NEGLIGIBLE * largest).T.nonzero().T.tolist()
    weights: dict[int, list[int]] = {}
    for position, own in zip(place, path, strict=True):
        weights.setdefault(position, []).append(own)
    entries, start = [], 0  # (M, k, node, position)
    for row, rows, column, columns in plan.blocks:
        for n in range(rows * columns):
            r, c = row + n // columns, column + n % columns
            if start + n in weights:
                entry = (int(plan.component[r]), int(plan.factor[r]), nodes[monomials[c]], start + n)
                entries.append(entry)
        start += rows * columns
    products = [(nodes[m[:-1]], m[-1]) for m in nodes if len(m) > 1]
    parts, groups = [[left for left, _ in products], [right for _, right in products]], []
    for outer, inner in ((0, 2), (2, 0)):
        own, count = _ordered(sorted(entries, key=lambda e: (e[outer], e[1], e[inner])), outer, inner, weights)
        parts += own
        groups.append(count)
    table = torch.tensor([number for part in parts for number in part], dtype=torch.int32)
    return PolynomialTerms(table, [d, outputs, len(products), *groups, len(entries), len(place)])


def independent_rows(matrix: Tensor, rounding: float = 1e-12) -> tuple[Tensor, Tensor]:
    """left (rows, rank) and right (rank, columns), float64, with matrix = left right.

    Rows that share no column stay apart, so that right has about as many zeros as matrix.
    """
    left, right = [], []
    largest = max((float(torch.linalg.matrix_norm(matrix[own], 2)) for own in _joined_rows(matrix)), default=0.0)
    for own in _joined_rows(matrix):
        columns = matrix[own].any(0).nonzero()[:, 0]
        u, size, v = torch.linalg.svd(matrix[own][:, columns], full_matrices=False)
        rank = int((size > rounding * largest).sum())
        left.append(matrix.new_zeros(len(matrix), rank).index_copy_(0, own, u[:, :rank] * size[:rank]))
        right.append(matrix.new_zeros(rank, matrix.shape[1]).index_copy_(1, columns, v[:rank]))
    nothing = matrix.new_zeros(len(matrix), 0), matrix.new_zeros(0, matrix.shape[1])
    return torch.cat([nothing[0], *left], dim=1), torch.cat([nothing[1], *right])


def _joined_rows(matrix: Tensor) -> list[Tensor]:
    """Rows, but those of zeros, by which share columns with each other, directly or through others."""
    present = (matrix != 0).double()
    linked, label = present @ present.T > 0, torch.arange(len(matrix))
    while True:
        lowest = torch.where(linked, label, len(matrix)).amin(1) if len(matrix) else label
        if bool((lowest >= label).all()):
            return [(label == n).nonzero()[:, 0] for n in label[linked.diagonal()].unique()]
        label = torch.minimum(label, lowest)


def _columns(plan: PolynomialBlocks, d: int) -> list[tuple[int, ...]]:
    """The variables of each column, the constant left out."""
    columns: list[tuple[int, ...]] = [*((i,) for i in range(d)), ()]
    for i, j in plan.products:
        columns = [columns[a] + ((b,) if b < d else ()) for a, b in zip(i.tolist(), j.tolist(), strict=True)]
    return columns


def _nodes(monomials: list[tuple[int, ...]], d: int) -> dict[tuple[int, ...], int]:
    """Monomial -> node; whatever a product is made from comes before it."""
    nodes: dict[tuple[int, ...], int] = {(i,): i for i in range(d)}
    nodes[()] = d
    for monomial in sorted(set(monomials), key=lambda m: (len(m), m)):
        for length in range(2, len(monomial) + 1):
            nodes.setdefault(monomial[:length], len(nodes))
    return nodes


def _ordered(entries: list[tuple], outer: int, inner: int, weights: dict) -> tuple[list[list[int]], int]:
    """The table's parts for one order, and how many groups it has."""
    starts, ends, stops, path, position = [], [], [], [], []
    for n, entry in enumerate(entries):
        if not starts or starts[-1] != (entry[outer], entry[1]):
            starts.append((entry[outer], entry[1]))
            ends.append(n)
        ends[-1] = n + 1
        path += weights[entry[3]]
        position += [entry[3]] * len(weights[entry[3]])
        stops.append(len(path))
    groups = [[g[0] for g in starts], [g[1] for g in starts], ends]
    return [*groups, [entry[inner] for entry in entries], stops, path, position], len(starts)
