"""z_i = sum over edges j -> i of w_ij . (x_j (x) y_ij), path by path, with gather and sum in one operation.

Edges go through node by node, some nodes of like degree at a time: for each path the products w x of a node's edges
lie below each other, and coupling, y and sum over neighbours are one matrix product of that node,
z_kc = sum_(e,i) M_(e,i)k (w x)_(e,i)c with M = W y. Nothing of size (edges, paths, channels) is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.ops.cuda import uvu_convolution as on_gpu
from equitensor.ops.multilinear import Forms, proofs, register
from equitensor.ops.operator import Kernel
from equitensor.ops.uvu_paths import check_edges, check_rows, unpack_paths

SCRATCH = 1 << 17  # elements of an array (edges, 2 l + 1, C) of a portion


def uvu_convolution(
    x: Tensor, y: Tensor, w: Tensor, sender: Tensor, receiver: Tensor, table: Tensor, plan: Tensor, width: int
) -> Tensor:
    """(n, width) of x (n, d1), y (e, d2), w (e, weights), any number of times differentiable.

    Rows of x and z hold a block (C, 2 l + 1) per irrep; plan and table as `pack_paths` makes them.
    """
    return torch.ops.equitensor.uvu_convolution(x, y, w, sender, receiver, table, plan, width)


class Portion(NamedTuple):
    """Nodes (b,) and their edges (b d,) in rows of d slots; empty slots read edge 0 times zero, and write to row e."""

    nodes: Tensor
    edges: Tensor
    slots: Tensor
    filled: Tensor


def _values(x, y, w, sender, receiver, table, plan, width):
    paths = unpack_paths(plan, table)
    x, z = _channels_last(x, _inputs(paths)), x.new_zeros(x.shape[0], width)
    for part in _portions(receiver, x, paths):
        rows, weight = x.index_select(0, sender[part.edges]), w.index_select(0, part.edges)
        filters = y.index_select(0, part.edges) * part.filled
        sums = x.new_zeros(len(part.nodes), width)
        for p, coupling in paths:
            scaled = _block(rows, p) * _weight(weight, p)
            _out(sums, p).add_(torch.bmm(_matrix(filters, coupling, p, part).transpose(1, 2), _stack(scaled, part)))
        z[part.nodes] = sums
    return _components_last(z, _outputs(paths))


def _gradients(x, y, w, g, need_x, need_y, need_w, sender, receiver, table, plan, width):
    paths = unpack_paths(plan, table)
    x, g = _channels_last(x, _inputs(paths)), _channels_last(g, _outputs(paths))
    of_x, of_y, of_w = _empty(x, need_x), _empty(y, need_y, 1), _empty(w, need_w, 1)
    for part in _portions(receiver, x, paths):
        index = sender[part.edges]
        rows, weight = x.index_select(0, index), w.index_select(0, part.edges)
        filters, sums = y.index_select(0, part.edges) * part.filled, g.index_select(0, part.nodes)
        part_x, part_y, part_w = _empty(rows, need_x), _empty(filters, need_y), _empty(weight, need_w)
        for p, coupling in paths:
            block, factor, out = _block(rows, p), _weight(weight, p), _out(sums, p)
            if need_x or need_w:
                back = torch.bmm(_matrix(filters, coupling, p, part), out).view_as(block)
            if need_x:
                _block(part_x, p).addcmul_(back, factor)
            if need_w:
                part_w[:, p.w : p.w + p.mul] = _sum(back.mul_(block))
            if need_y:
                moment = torch.bmm(_stack(block * factor, part), out.transpose(1, 2))
                part_y[:, p.y : p.y + p.j].addmm_(moment.view(len(rows), -1), coupling.T)
        if need_x:
            of_x.index_add_(0, index, part_x)
        if need_y:
            of_y[part.slots] = part_y
        if need_w:
            of_w[part.slots] = part_w
    of_x = _components_last(of_x, _inputs(paths)) if need_x else of_x
    return of_x, of_y[:-1] if need_y else of_y, of_w[:-1] if need_w else of_w


def _tangents(x, y, w, g, h_x, h_y, h_w, sender, receiver, table, plan, width):
    paths = unpack_paths(plan, table)
    x, g = _channels_last(x, _inputs(paths)), _channels_last(g, _outputs(paths))
    h_x = None if h_x is None else _channels_last(h_x, _inputs(paths))
    of_g, of_x, of_y, of_w = torch.zeros_like(g), _empty(x, True), _empty(y, True, 1), _empty(w, True, 1)
    for part in _portions(receiver, x, paths):
        index = sender[part.edges]
        rows, weight, sums = x.index_select(0, index), w.index_select(0, part.edges), g.index_select(0, part.nodes)
        filters = y.index_select(0, part.edges) * part.filled
        d_rows = None if h_x is None else h_x.index_select(0, index)
        d_weight = None if h_w is None else h_w.index_select(0, part.edges)
        d_filters = None if h_y is None else h_y.index_select(0, part.edges) * part.filled
        part_g, part_x, part_y, part_w = map(torch.zeros_like, (sums, rows, filters, weight))
        for p, coupling in paths:
            block, factor, out = _block(rows, p), _weight(weight, p), _out(sums, p)
            matrix = _matrix(filters, coupling, p, part)
            weights_gradient = part_w[:, p.w : p.w + p.mul]
            change = None if d_rows is None else _block(d_rows, p) * factor
            if d_weight is not None:
                factor_change = _weight(d_weight, p)
                change = block * factor_change if change is None else change.addcmul_(block, factor_change)
            if d_rows is not None or d_weight is not None:
                back = torch.bmm(matrix, out).view_as(block)
                stacked = _stack(change, part)
                _out(part_g, p).add_(torch.bmm(matrix.transpose(1, 2), stacked))
                moment = torch.bmm(stacked, out.transpose(1, 2))
                part_y[:, p.y : p.y + p.j].addmm_(moment.view(len(rows), -1), coupling.T)
            if d_weight is not None:
                _block(part_x, p).addcmul_(back, factor_change)
            if d_rows is not None:
                weights_gradient += _sum(back.mul_(_block(d_rows, p)))
            if d_filters is not None:
                matrix = _matrix(d_filters, coupling, p, part)
                back = torch.bmm(matrix, out).view_as(block)
                _out(part_g, p).add_(torch.bmm(matrix.transpose(1, 2), _stack(block * factor, part)))
                _block(part_x, p).addcmul_(back, factor)
                weights_gradient += _sum(back.mul_(block))
        of_g[part.nodes] = part_g
        of_x.index_add_(0, index, part_x)
        of_y[part.slots] = part_y
        of_w[part.slots] = part_w
    return _components_last(of_g, _outputs(paths)), _components_last(of_x, _inputs(paths)), of_y[:-1], of_w[:-1]


def _portions(receiver: Tensor, x: Tensor, paths: list) -> Iterator[Portion]:
    """All nodes that have edges, those of like degree together."""
    if len(receiver) == 0 or not paths:
        return
    order = receiver.argsort(stable=True)
    counts = receiver.bincount(minlength=x.shape[0])
    starts = counts.cumsum(0) - counts
    by_degree = counts.argsort(stable=True)
    degrees = counts[by_degree].tolist()
    begin = sum(degree == 0 for degree in degrees)
    limit = SCRATCH // max(p.i * p.mul for p, _ in paths) if x.device.type == "cpu" else len(receiver)
    while begin < len(degrees):
        end = begin + 1
        while end < len(degrees) and (end + 1 - begin) * degrees[end] <= limit:
            end += 1
        yield _portion(by_degree[begin:end], degrees[end - 1], starts, counts, order)
        begin = end


def _portion(nodes: Tensor, width: int, starts: Tensor, counts: Tensor, order: Tensor) -> Portion:
    slots = torch.arange(width, device=nodes.device)
    filled = slots < counts[nodes].unsqueeze(1)
    edges = order[torch.where(filled, starts[nodes].unsqueeze(1) + slots, 0)].flatten()
    filled = filled.flatten()
    return Portion(nodes, edges, torch.where(filled, edges, len(order)), filled.unsqueeze(1))


def _empty(like: Tensor, needed: bool, more: int = 0) -> Tensor:
    """Zeros to add to, with `more` rows for what falls from empty slots; an empty tensor where nothing is needed."""
    return like.new_zeros(like.shape[0] + more, like.shape[1]) if needed else like.new_empty(0)


def _inputs(paths: list) -> dict[int, tuple[int, int]]:
    """(C, 2 l + 1) of the blocks of x, by where they start."""
    return {p.x: (p.mul, p.i) for p, _ in paths}


def _outputs(paths: list) -> dict[int, tuple[int, int]]:
    return {p.z: (p.mul, p.k) for p, _ in paths}


def _channels_last(rows: Tensor, blocks: dict) -> Tensor:
    """Rows of blocks (C, 2 l + 1) as rows of blocks (2 l + 1, C); what no path reads or writes is zero."""
    turned = torch.zeros_like(rows, memory_format=torch.contiguous_format)
    for start, (a, b) in blocks.items():
        part = slice(start, start + a * b)
        turned[:, part].view(-1, b, a).copy_(rows[:, part].unflatten(1, (a, b)).transpose(1, 2))
    return turned


def _components_last(rows: Tensor, blocks: dict) -> Tensor:
    return _channels_last(rows, {start: (b, a) for start, (a, b) in blocks.items()})


def _block(rows: Tensor, p) -> Tensor:
    return rows[:, p.x : p.x + p.i * p.mul].view(-1, p.i, p.mul)


def _out(rows: Tensor, p) -> Tensor:
    return rows[:, p.z : p.z + p.k * p.mul].view(-1, p.k, p.mul)


def _weight(weight: Tensor, p) -> Tensor:
    return weight[:, p.w : p.w + p.mul].unsqueeze(1)


def _matrix(filters: Tensor, coupling: Tensor, p, part: Portion) -> Tensor:
    """M of each node: (b, d i, k)."""
    return (filters[:, p.y : p.y + p.j] @ coupling).view(len(part.nodes), -1, p.k)


def _stack(block: Tensor, part: Portion) -> Tensor:
    """(b d, i, C) as (b, d i, C)."""
    return block.view(len(part.nodes), -1, block.shape[2])


def _sum(products: Tensor) -> Tensor:
    return products.squeeze(1) if products.shape[1] == 1 else products.sum(1)


_KERNEL = Kernel("uvu_convolution", sizes=9, arrays=15)


def _check(operands, constants) -> None:
    (x, y, w), (sender, receiver, table, plan, _) = operands, constants
    check_rows("uvu_convolution", x, y, w, table, plan)
    check_edges("uvu_convolution", y, w, sender, receiver)


def _on_core(operands, g, h, results, constants):
    (x, y, _), (sender, receiver, table, plan, width) = operands, constants
    _check(operands, constants)
    arrays = (*operands, g, *(h or (None,) * 3), *(t.contiguous() for t in (sender, receiver, table, plan)))
    widths = (*(t.shape[1] for t in operands), width)
    sizes = (x.shape[0], y.shape[0], *widths, plan.shape[0], table.numel(), h is not None)
    _KERNEL(x.dtype, sizes, (*arrays, *results))


REFERENCE, ON_GPU = Forms(_values, _gradients, _tangents), Forms(on_gpu.values, on_gpu.gradients, on_gpu.tangents)


def shape(x, y, w, sender, receiver, table, plan, width) -> tuple[int, int]:
    return (x.shape[0], width)


register(
    "uvu_convolution",
    REFERENCE,
    _on_core,
    "Tensor sender, Tensor receiver, Tensor table, Tensor plan, int width",
    shape,
    on_gpu=ON_GPU,
    proofs=proofs(ON_GPU, REFERENCE, shape, on_gpu.small),
    check=_check,
)
