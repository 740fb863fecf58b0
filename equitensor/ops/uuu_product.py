"""z = w . (x (x) y), channel by channel ("uuu"), path by path, any weights; features lie components first.

For each pair of blocks the products x_i y_j meet the couplings of all its paths in one matrix product, T = W (x y),
and the weights multiply T on its way into z. Items go through in portions, so that products stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.ops.multilinear import register

COLUMNS = 1 << 12  # items times channels of a portion


class UUUPath(NamedTuple):
    """Where the block of each operand starts on its component axis, the row of w, and 2 l1 + 1, 2 l2 + 1, 2 l3 + 1."""

    x: int
    y: int
    w: int
    z: int
    i: int
    j: int
    k: int


class Pair(NamedTuple):
    """All paths of a pair of blocks: their coupling as one matrix (rows, i j), and (first row, path)."""

    x: slice
    y: slice
    matrix: Tensor
    paths: list[tuple[slice, UUUPath]]


def uuu_product(x: Tensor, y: Tensor, w: Tensor, table: Tensor, plan: Tensor, width: int) -> Tensor:
    """z (width, n, C) of x (d1, n, C), y (d2, n, C), any number of times differentiable.

    w: (P, n, C), or of one item or channel, (P, 1, C) or (P, 1, 1), for all; plan and table as `pack_pairs` makes.
    """
    return torch.ops.equitensor.uuu_product(x.contiguous(), y.contiguous(), w, table, plan, width)


def pack_pairs(paths: list[UUUPath], couplings: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(plan, table) for the operator; couplings[p] (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
    found = sorted(zip(paths, couplings, strict=True), key=lambda pair: pair[0][:2])
    table = torch.cat([coupling.permute(2, 0, 1).flatten() for _, coupling in found])
    return torch.tensor([path for path, _ in found], dtype=torch.int64), table


def unpack_pairs(plan: Tensor, table: Tensor) -> list[Pair]:
    """The inverse of `pack_pairs`."""
    blocks: dict[tuple, list[UUUPath]] = {}
    for row in plan.tolist():
        blocks.setdefault(tuple(row[:2]), []).append(UUUPath(*row))
    pairs, start = [], 0
    for (x, y), paths in blocks.items():
        (i, j), rows, places = paths[0][4:6], 0, []
        for path in paths:
            places.append((slice(rows, rows + path.k), path))
            rows += path.k
        matrix = table[start : start + rows * i * j].view(rows, i * j)
        pairs.append(Pair(slice(x, x + i), slice(y, y + j), matrix, places))
        start += matrix.numel()
    return pairs


def _values(x, y, w, table, plan, width):
    pairs = unpack_pairs(plan, table)
    z = x.new_zeros(width, *x.shape[1:])
    for part, scratch in _portions(x, pairs):
        first, second, weight, out = _cut(x, part), _cut(y, part), _cut(w, part), z[:, part]
        for pair in pairs:
            _spread(out, pair, _couple(pair, first, second, scratch), weight)
    return z


def _gradients(x, y, w, g, need_x, need_y, need_w, table, plan, width):
    pairs = unpack_pairs(plan, table)
    of_x, of_y, of_w = (_like(t, need) for t, need in ((x, need_x), (y, need_y), (w, need_w)))
    for part, scratch in _portions(x, pairs):
        first, second, weight, out = _cut(x, part), _cut(y, part), _cut(w, part), _cut(g, part)
        for pair in pairs:
            if need_w:
                _weights(_view(of_w, part), pair, _couple(pair, first, second, scratch), out)
            if need_x or need_y:
                back = _back(pair, out, weight, scratch)
            if need_x:
                of_x[pair.x, part] += torch.mul(back, second[pair.y], out=scratch.products(pair)).sum(1)
            if need_y:
                of_y[pair.y, part] += back.mul_(first[pair.x].unsqueeze(1)).sum(0)
    return of_x, of_y, of_w


def _tangents(x, y, w, g, h_x, h_y, h_w, table, plan, width):
    pairs = unpack_pairs(plan, table)
    of_g, of_x, of_y, of_w = map(torch.zeros_like, (g, x, y, w))
    for part, scratch in _portions(x, pairs):
        operands = [_cut(t, part) for t in (x, y, w, g)]
        tangents = [None if h is None else _cut(h, part) for h in (h_x, h_y, h_w)]
        totals = [_view(t, part) for t in (of_g, of_x, of_y, of_w)]
        for pair in pairs:
            _tangents_of_pair(totals, pair, operands, tangents, scratch)
    return of_g, of_x, of_y, of_w


def _tangents_of_pair(totals: list, pair: Pair, operands: list, tangents: list, scratch: Scratch) -> None:
    (of_g, of_x, of_y, of_w), (x, y, weight, out), (d_x, d_y, d_weight) = totals, operands, tangents
    products = scratch.products(pair)
    if d_x is not None or d_y is not None:
        if d_x is not None:
            torch.mul(d_x[pair.x].unsqueeze(1), y[pair.y], out=products)
        if d_y is not None and d_x is not None:
            products.addcmul_(x[pair.x].unsqueeze(1), d_y[pair.y])
        elif d_y is not None:
            torch.mul(x[pair.x].unsqueeze(1), d_y[pair.y], out=products)
        change = _contract(pair, products, scratch)
        _spread(of_g, pair, change, weight)
        _weights(of_w, pair, change, out)
        back = _back(pair, out, weight, scratch)
        if d_y is not None:
            of_x[pair.x] += torch.mul(back, d_y[pair.y], out=products).sum(1)
        if d_x is not None:
            of_y[pair.y] += back.mul_(d_x[pair.x].unsqueeze(1)).sum(0)
    if d_weight is not None:
        _spread(of_g, pair, _couple(pair, x, y, scratch), d_weight)
        back = _back(pair, out, d_weight, scratch)
        of_x[pair.x] += torch.mul(back, y[pair.y], out=products).sum(1)
        of_y[pair.y] += back.mul_(x[pair.x].unsqueeze(1)).sum(0)


class Scratch:
    """Buffers that every pair of blocks overwrites: fresh memory for each would cost more than the arithmetic."""

    def __init__(self, like: Tensor, pairs: list[Pair], items: int) -> None:
        self.items, self.channels = items, like.shape[2]
        columns = items * self.channels
        inner = max(pair.matrix.shape[1] for pair in pairs)
        self._products, self._back = like.new_empty(inner * columns), like.new_empty(inner * columns)
        self._terms = like.new_empty(max(len(pair.matrix) for pair in pairs) * columns)

    def products(self, pair: Pair) -> Tensor:
        return self._shaped(self._products, pair)

    def back(self, pair: Pair) -> Tensor:
        return self._shaped(self._back, pair)

    def terms(self, pair: Pair) -> Tensor:
        """(rows, n, C)."""
        rows = len(pair.matrix)
        return self._terms[: rows * self.items * self.channels].view(rows, self.items, self.channels)

    def _shaped(self, buffer: Tensor, pair: Pair) -> Tensor:
        """(i, j, n, C)."""
        i, inner = pair.x.stop - pair.x.start, pair.matrix.shape[1]
        return buffer[: inner * self.items * self.channels].view(i, inner // i, self.items, self.channels)


def _portions(x: Tensor, pairs: list[Pair]) -> Iterator[tuple[slice, Scratch]]:
    items, channels = x.shape[1:]
    if not (items and channels and pairs):
        return
    step = max(1, COLUMNS // channels) if x.device.type == "cpu" else items
    scratch = None
    for start in range(0, items, step):
        part = slice(start, min(start + step, items))
        if scratch is None or scratch.items != part.stop - part.start:
            scratch = Scratch(x, pairs, part.stop - part.start)
        yield part, scratch


def _view(tensor: Tensor, part: slice) -> Tensor:
    """The items of a portion; all of a weight that they share."""
    return tensor if tensor.shape[1] == 1 else tensor[:, part]


def _cut(tensor: Tensor, part: slice) -> Tensor:
    return _view(tensor, part).contiguous()


def _like(tensor: Tensor, needed: bool) -> Tensor:
    return torch.zeros_like(tensor) if needed else tensor.new_empty(0)


def _contract(pair: Pair, products: Tensor, scratch: Scratch) -> Tensor:
    """(rows, n, C) of (i, j, n, C)."""
    terms = scratch.terms(pair)
    torch.mm(pair.matrix, products.flatten(0, 1).flatten(1), out=terms.flatten(1))
    return terms


def _couple(pair: Pair, x: Tensor, y: Tensor, scratch: Scratch) -> Tensor:
    products = torch.mul(x[pair.x].unsqueeze(1), y[pair.y], out=scratch.products(pair))
    return _contract(pair, products, scratch)


def _spread(z: Tensor, pair: Pair, terms: Tensor, weight: Tensor) -> None:
    for rows, p in pair.paths:
        z[p.z : p.z + p.k].addcmul_(terms[rows], weight[p.w])


def _back(pair: Pair, out: Tensor, weight: Tensor, scratch: Scratch) -> Tensor:
    """sum over rows of W_rij w_r g_r: (i, j, n, C)."""
    given, back = scratch.terms(pair), scratch.back(pair)
    for rows, p in pair.paths:
        torch.mul(out[p.z : p.z + p.k], weight[p.w], out=given[rows])
    torch.mm(pair.matrix.T, given.flatten(1), out=back.flatten(0, 1).flatten(1))
    return back


def _weights(of_w: Tensor, pair: Pair, terms: Tensor, out: Tensor) -> None:
    """Adds sum_k T_k g_k of each path, summed over the items and channels that share the weight."""
    for rows, p in pair.paths:
        products = (terms[rows] * out[p.z : p.z + p.k]).sum(0)
        of_w[p.w] += products.sum_to_size(of_w.shape[1:])


register(
    "uuu_product",
    _values,
    _gradients,
    _tangents,
    "Tensor table, Tensor plan, int width",
    lambda x, y, w, table, plan, width: (width, *x.shape[1:]),
)
