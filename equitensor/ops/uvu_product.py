"""z = w . (x (x) y), "uvu" with a second operand of multiplicity one, item by item in e3nn's flat layout.

Coupling and y make one matrix per item and block of x, M = W y: all paths from that block are one matrix product,
T_rc = sum_i M_ri x_ic, channels last inside; the weights multiply T on its way into the flat layout. Items go through
in portions that fit the cache, and nothing of their size but z and the gradients is ever made.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from equitensor.ops import uvu_convolution
from equitensor.ops.cuda import uvu_product as on_gpu
from equitensor.ops.multilinear import Forms, proofs, register
from equitensor.ops.operator import Kernel
from equitensor.ops.uvu_paths import Group, UVUPath, check_rows, unpack_groups

SCRATCH = 1 << 18  # elements of the array of all paths of a block


def uvu_product(x: Tensor, y: Tensor, w: Tensor, table: Tensor, plan: Tensor, width: int) -> Tensor:
    """(n, width) of x (n, d1), y (n, d2), w (n, weights), any number of times differentiable.

    Rows of x and z hold a block (C, 2 l + 1) per irrep; plan and table as `pack_groups` makes them.
    """
    return torch.ops.equitensor.uvu_product(x, y, w, table, plan, width)


def _values(x, y, w, table, plan, width):
    x, groups = x.contiguous(), unpack_groups(plan, table, y.shape[1])
    z, first = _output(x, groups, width)
    for part in _portions(x, groups):
        filters, weight = y[part], w[part]
        for group in groups:
            terms = _couple(filters, group, _channels_last(x[part], group))
            for (row, p), new in zip(group.paths, first[group.x], strict=True):
                term, factor = terms[:, row : row + p.k].transpose(1, 2), _weight(weight, p).unsqueeze(2)
                out = _out(z[part], p)
                torch.mul(term, factor, out=out) if new else out.addcmul_(term, factor)
    return z


def _gradients(x, y, w, g, need_x, need_y, need_w, table, plan, width):
    (x, g), groups = (x.contiguous(), g.contiguous()), unpack_groups(plan, table, y.shape[1])
    of_x, of_y, of_w = _like(x, need_x), _like(y, need_y), _like(w, need_w)
    for part in _portions(x, groups):
        filters, weight, out = y[part], w[part], g[part]
        for group in groups:
            block = _channels_last(x[part], group)
            g_terms = _gather(out, group)
            if need_w:
                _write_weights(of_w[part], group, _couple(filters, group, block).mul_(g_terms))
            if need_x or need_y:
                _scaled(g_terms, weight, group, g_terms)
            if need_x:
                _flat_block(of_x[part], group).add_(_matrix(filters, group).bmm(g_terms).transpose(1, 2))
            if need_y:
                of_y[part].addmm_(_moment(g_terms, block), group.matrix.T)
    return of_x, of_y, of_w


def _tangents(x, y, w, g, h_x, h_y, h_w, table, plan, width):
    groups = unpack_groups(plan, table, y.shape[1])
    x, g, h_x = (None if t is None else t.contiguous() for t in (x, g, h_x))
    of_g, first = _output(x, groups, width)
    of_x, of_y, of_w = (_like(t, True) for t in (x, y, w))
    for part in _portions(x, groups):
        totals = of_x[part], of_y[part], of_w[part]
        for group in groups:
            block, g_terms = _channels_last(x[part], group), _gather(g[part], group)
            d_block = None if h_x is None else _channels_last(h_x[part], group)
            d_filters, d_weight = (None if h is None else h[part] for h in (h_y, h_w))
            operands, tangents = (block, y[part], w[part]), (d_block, d_filters, d_weight)
            change = _tangents_of_block(totals, group, g_terms, operands, tangents)
            _place(of_g[part], group, change, first[group.x])
    return of_g, of_x, of_y, of_w


def _tangents_of_block(totals: tuple, group: Group, g_terms: Tensor, operands: tuple, tangents: tuple) -> Tensor:
    """Adds to the gradients in x, y and w; returns the tangent of z, channels last."""
    (of_x, of_y, of_w), (block, filters, weight), (d_block, d_filters, d_weight) = totals, operands, tangents
    change, back = torch.zeros_like(g_terms), torch.zeros_like(block)
    scaled = _scaled(g_terms, weight, group)
    if d_block is not None:
        change += _couple(filters, group, d_block)
        of_y.addmm_(_moment(scaled, d_block), group.matrix.T)
    if d_filters is not None:
        change += _couple(d_filters, group, block)
        back += torch.bmm(_matrix(d_filters, group), scaled)
    if d_block is not None or d_filters is not None:
        _write_weights(of_w, group, change * g_terms)
        _scaled(change, weight, group, change)
    if d_weight is not None:
        d_scaled = _scaled(g_terms, d_weight, group)
        back += torch.bmm(_matrix(filters, group), d_scaled)
        of_y.addmm_(_moment(d_scaled, block), group.matrix.T)
        change += _scaled(terms := _couple(filters, group, block), d_weight, group, terms)
    _flat_block(of_x, group).add_(back.transpose(1, 2))
    return change


def _portions(x: Tensor, groups: list[Group]) -> Iterator[slice]:
    items = x.shape[0]
    if not groups:
        return
    step = max(1, SCRATCH // max(g.rows * g.mul for g in groups)) if x.device.type == "cpu" else max(1, items)
    for start in range(0, items, step):
        yield slice(start, min(start + step, items))


def _output(x: Tensor, groups: list[Group], width: int) -> tuple[Tensor, dict]:
    """z, and of each path whether it is the first that writes to its place; zeros where none does."""
    seen: set[int] = set()
    first: dict[int, list[bool]] = {}
    for group in groups:
        first[group.x] = []
        for _, p in group.paths:
            first[group.x].append(p.z not in seen)
            seen.add(p.z)
    written = sum({p.z: p.mul * p.k for group in groups for _, p in group.paths}.values())
    make = x.new_empty if written == width else x.new_zeros
    return make(x.shape[0], width), first


def _like(tensor: Tensor, needed: bool) -> Tensor:
    return tensor.new_zeros(tensor.shape) if needed else tensor.new_empty(0)


def _flat_block(rows: Tensor, group: Group) -> Tensor:
    return rows[:, group.x : group.x + group.mul * group.i].view(-1, group.mul, group.i)


def _channels_last(rows: Tensor, group: Group) -> Tensor:
    """The block of x as (n, 2 l1 + 1, C)."""
    return _flat_block(rows, group).transpose(1, 2).contiguous()


def _out(rows: Tensor, p: UVUPath) -> Tensor:
    return rows[:, p.z : p.z + p.mul * p.k].view(-1, p.mul, p.k)


def _weight(weight: Tensor, p: UVUPath) -> Tensor:
    return weight[:, p.w : p.w + p.mul]


def _matrix(filters: Tensor, group: Group) -> Tensor:
    """M transposed, (n, 2 l1 + 1, rows)."""
    return (filters @ group.matrix).view(-1, group.i, group.rows)


def _couple(filters: Tensor, group: Group, block: Tensor) -> Tensor:
    """T (n, rows, C)."""
    matrix = _matrix(filters, group).transpose(1, 2)
    return matrix * block if group.i == 1 else torch.bmm(matrix, block)


def _moment(g_terms: Tensor, block: Tensor) -> Tensor:
    """The gradient of M, (n, (2 l1 + 1) rows)."""
    return torch.bmm(block, g_terms.transpose(1, 2)).flatten(1)


def _gather(out: Tensor, group: Group) -> Tensor:
    """The outputs that the block leads to, channels last: (n, rows, C)."""
    return torch.cat([_out(out, p).transpose(1, 2) for _, p in group.paths], dim=1)


def _scaled(terms: Tensor, weight: Tensor, group: Group, out: Tensor | None = None) -> Tensor:
    """Each path's rows times its weights."""
    out = torch.empty_like(terms) if out is None else out
    for row, p in group.paths:
        torch.mul(terms[:, row : row + p.k], _weight(weight, p).unsqueeze(1), out=out[:, row : row + p.k])
    return out


def _place(rows: Tensor, group: Group, terms: Tensor, first: list[bool]) -> None:
    """Terms (n, rows, C) into their places in the flat layout."""
    for (row, p), new in zip(group.paths, first, strict=True):
        term, out = terms[:, row : row + p.k].transpose(1, 2), _out(rows, p)
        out.copy_(term) if new else out.add_(term)


def _write_weights(of_w: Tensor, group: Group, products: Tensor) -> None:
    for row, p in group.paths:
        torch.sum(products[:, row : row + p.k], dim=1, out=_weight(of_w, p))


_KERNEL = Kernel("uvu_product", sizes=8, arrays=13)


def _check(operands, constants) -> None:
    (x, y, w), (table, plan, _) = operands, constants
    check_rows("uvu_product", x, y, w, table, plan)
    if not x.shape[0] == y.shape[0] == w.shape[0]:
        shapes = ", ".join(str(list(t.shape)) for t in operands)
        raise RuntimeError(f"uvu_product: x, y and w have shapes {shapes}, expected one row per item in each")


def _on_core(operands, g, h, results, constants):
    (x, *_), (table, plan, width) = operands, constants
    _check(operands, constants)
    arrays = (*operands, g, *(h or (None,) * 3), table.contiguous(), plan.contiguous())
    widths = (*(t.shape[1] for t in operands), width)
    sizes = (x.shape[0], *widths, plan.shape[0], table.numel(), h is not None)
    _KERNEL(x.dtype, sizes, (*arrays, *results))


register(
    "uvu_product",
    Forms(_values, _gradients, _tangents),
    _on_core,
    "Tensor table, Tensor plan, int width",
    lambda x, y, w, table, plan, width: (x.shape[0], width),
    on_gpu=Forms(on_gpu.values, on_gpu.gradients, on_gpu.tangents),
    proofs=proofs(uvu_convolution.ON_GPU, uvu_convolution.REFERENCE, uvu_convolution.shape, on_gpu.small),
    check=_check,
)
