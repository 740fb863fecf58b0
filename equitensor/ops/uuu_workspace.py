"""The paths of a product "uuu" in pairs of blocks, and the memory in which one portion of items is worked on.

Fresh arrays for each pair would cost more than the arithmetic, and so would making the same views for every portion:
both are made once and overwritten.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class UUUPath(NamedTuple):
    """Where the block of each operand starts on its component axis, the row of w, and 2 l1 + 1, 2 l2 + 1, 2 l3 + 1."""

    x: int
    y: int
    w: int
    z: int
    i: int
    j: int
    k: int


class BlockPair(NamedTuple):
    """All paths of a pair of blocks and their coupling as one matrix (rows, i j)."""

    paths: list[UUUPath]
    matrix: Tensor


def pack_pairs(paths: list[UUUPath], couplings: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(plan, table) for the operator; couplings[p] (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
    ordered = sorted(zip(paths, couplings, strict=True), key=lambda pair: pair[0][:2])
    table = torch.cat([coupling.permute(2, 0, 1).flatten() for _, coupling in ordered])
    return torch.tensor([path for path, _ in ordered], dtype=torch.int64), table


def unpack_pairs(plan: Tensor, table: Tensor) -> list[BlockPair]:
    """The inverse of `pack_pairs`."""
    blocks: dict[tuple, list[UUUPath]] = {}
    for row in plan.tolist():
        blocks.setdefault(tuple(row[:2]), []).append(UUUPath(*row))
    pairs, start = [], 0
    for paths in blocks.values():
        rows, inner = sum(p.k for p in paths), paths[0].i * paths[0].j
        pairs.append(BlockPair(paths, table[start : start + rows * inner].view(rows, inner)))
        start += rows * inner
    return pairs


class Layout(NamedTuple):
    """How rows hold features: for each block its 2 l + 1, in x, y and z; C; whether channels are last in a block."""

    sizes_x: list[int]
    sizes_y: list[int]
    sizes_z: list[int]
    channels: int
    channels_last: bool

    def shape(self, x: Tensor) -> tuple[int, int]:
        """Of z."""
        return (x.shape[0], sum(self.sizes_z) * self.channels)

    def blocks(self, rows: Tensor, sizes: list[int]) -> list[Tensor]:
        """Views (2 l + 1, n, C) of rows (n, d C)."""
        parts = rows.split([size * self.channels for size in sizes], dim=1)
        if self.channels_last:
            return [part.unflatten(1, (-1, self.channels)).transpose(0, 1) for part in parts]
        return [part.unflatten(1, (self.channels, -1)).permute(2, 0, 1) for part in parts]


class Workspace:
    """Operands, sums and products of a portion, components first, with every view of every pair of blocks.

    The coupling of a lone path with a degree zero is one factor, which is multiplied into the weights: no matrix
    product. The gradient of weights shared by all items is summed at the end of a portion.
    """

    def __init__(self, pairs: list, w: Tensor, layout: Layout, items: int, gradients=False, tangents=False) -> None:
        self.items, self.layout, channels = items, layout, layout.channels
        d_x, d_y, d_z = sum(layout.sizes_x), sum(layout.sizes_y), sum(layout.sizes_z)
        self.gradients, self.tangents, self.own = gradients, tangents, w.shape[1] > 1
        self.scale = _scales(pairs, w)

        def make(size: int) -> Tensor:
            return w.new_empty(size, items, channels)

        self.x, self.y, self.z = make(d_x), make(d_y), make(d_z)
        self.w = w.new_zeros(len(w), items, channels) if self.own else w.new_zeros(w.shape)
        if gradients:
            self.g, self.of_x, self.of_y, self.of_w = make(d_z), make(d_x), make(d_y), make(len(w))
        if tangents:
            self.d_x, self.d_y, self.d_w = make(d_x), make(d_y), torch.zeros_like(self.w)
        inner, rows = max(pair.matrix.shape[1] for pair in pairs), max(len(pair.matrix) for pair in pairs)
        self.buffers = make(inner), make(inner if gradients else 0), make(rows)
        self.pairs = [self.Pair(self, pair) for pair in pairs]

    def load(self, part: slice, x: Tensor, y: Tensor, w: Tensor, g: Tensor | None = None) -> None:
        """Copy the operands of a portion; sums start at zero."""
        self._copy(self.x, x[part], self.layout.sizes_x)
        self._copy(self.y, y[part], self.layout.sizes_y)
        self._copy_weights(self.w, w, part)
        self.z.zero_()
        if g is not None:
            self._copy(self.g, g[part], self.layout.sizes_z)
            for total in (self.of_x, self.of_y, self.of_w):
                total.zero_()

    def load_tangents(self, part: slice, h_x: Tensor | None, h_y: Tensor | None, h_w: Tensor | None) -> None:
        if h_x is not None:
            self._copy(self.d_x, h_x[part], self.layout.sizes_x)
        if h_y is not None:
            self._copy(self.d_y, h_y[part], self.layout.sizes_y)
        if h_w is not None:
            self._copy_weights(self.d_w, h_w, part)

    def store(self, part: slice, z: Tensor) -> None:
        """Hand over z of a portion."""
        self._write(z[part], self.z, self.layout.sizes_z)

    def store_gradients(self, part: slice, of_x: Tensor | None, of_y: Tensor | None, of_w: Tensor | None) -> None:
        if of_x is not None:
            self._write(of_x[part], self.of_x, self.layout.sizes_x)
        if of_y is not None:
            self._write(of_y[part], self.of_y, self.layout.sizes_y)
        if of_w is not None and self.own:
            torch.mul(self.of_w[:, : part.stop - part.start], self.scale, out=of_w[:, part])
        elif of_w is not None:
            of_w += self.of_w.sum_to_size(of_w.shape) * self.scale

    def _copy(self, components: Tensor, rows: Tensor, sizes: list[int]) -> None:
        for buffer, block in zip(components.split(sizes), self.layout.blocks(rows, sizes), strict=True):
            buffer[:, : len(rows)] = block
        if len(rows) < self.items:
            components[:, len(rows) :] = 0

    def _copy_weights(self, buffer: Tensor, w: Tensor, part: slice) -> None:
        if self.own:
            w, buffer = w[:, part], buffer[:, : part.stop - part.start]
        torch.mul(w, self.scale, out=buffer)

    def _write(self, rows: Tensor, components: Tensor, sizes: list[int]) -> None:
        for buffer, block in zip(components.split(sizes), self.layout.blocks(rows, sizes), strict=True):
            block.copy_(buffer[:, : len(rows)])

    class Pair:
        """The views of one pair of blocks; x has an axis for the components of y."""

        def __init__(self, workspace: Workspace, pair: BlockPair) -> None:
            (first, *_), self.matrix, self.scalar = pair.paths, pair.matrix, _is_scalar(pair)
            x, y = slice(first.x, first.x + first.i), slice(first.y, first.y + first.j)
            outputs, weights = [slice(p.z, p.z + p.k) for p in pair.paths], [p.w for p in pair.paths]
            rows, inner = pair.matrix.shape
            products, back, terms = workspace.buffers
            self.x, self.y = workspace.x[x].unsqueeze(1), workspace.y[y]
            self.z, self.weights = [workspace.z[part] for part in outputs], [workspace.w[row] for row in weights]
            pairs = (first.i, first.j)
            self.products, self.flat_products = products[:inner].unflatten(0, pairs), products[:inner].flatten(1)
            self.terms, self.flat_terms = list(terms[:rows].split([p.k for p in pair.paths])), terms[:rows].flatten(1)
            if workspace.gradients:
                self.of_x, self.of_y = workspace.of_x[x], workspace.of_y[y]
                self.g, self.of_w = [workspace.g[part] for part in outputs], [workspace.of_w[row] for row in weights]
                self.flat_back, by_pairs = back[:inner].flatten(1), back[:inner].unflatten(0, pairs)
                self.back_by_x, self.back_by_y = by_pairs.unbind(0), by_pairs.unbind(1)
                self.parts_x, self.parts_y = workspace.x[x].unbind(0), self.y.unbind(0)
                self.g_terms = [back[:rows]] if self.scalar else self.terms
            if self.scalar:
                self.terms = [products[:rows]]
            if workspace.tangents:
                self.d_x, self.d_y = workspace.d_x[x].unsqueeze(1), workspace.d_y[y]
                self.parts_d_x, self.parts_d_y = workspace.d_x[x].unbind(0), self.d_y.unbind(0)
                self.d_weights = [workspace.d_w[row] for row in weights]

        def couple(self, x: Tensor, y: Tensor) -> list[Tensor]:
            """T = W (x y), path by path (2 l3 + 1, n, C)."""
            torch.mul(x, y, out=self.products)
            return self.contract()

        def contract(self) -> list[Tensor]:
            if not self.scalar:
                torch.mm(self.matrix, self.flat_products, out=self.flat_terms)
            return self.terms

        def contract_back(self) -> None:
            """back = sum over rows of W_rij g_r, g the gradient of the terms: (i, j, n, C)."""
            if not self.scalar:
                torch.mm(self.matrix.T, self.flat_terms, out=self.flat_back)


def _is_scalar(pair: BlockPair) -> bool:
    return len(pair.paths) == 1 and min(pair.paths[0][4:6]) == 1


def _scales(pairs: list[BlockPair], w: Tensor) -> Tensor:
    """(P, 1, 1): the coupling of paths that are a single factor, ones elsewhere."""
    scale = torch.ones(len(w), 1, 1, dtype=w.dtype, device=w.device)
    for pair in filter(_is_scalar, pairs):
        scale[pair.paths[0].w] = pair.matrix[0, 0]
    return scale
