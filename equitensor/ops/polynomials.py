"""Polynomials of a feature, z_M = sum_k x_k T_Mk with T = P v(x), v the products of components of x.

Arrays are (rows, G, T): G sets of coefficients (element and channel), each with T atoms. Two multilinear forms make
everything, and the derivative of each in any of its three slots is the same form with the slots exchanged:

    products   sum_r u_r x_i(r) y_j(r)             slots u, x, y
    blocks     sum over blocks of u_b^T P_b v_b    slots u, P, v

Where the core is loaded, `many_body.element_polynomials` follows the same polynomials entry by entry instead.

TorchScript follows them as plain operations, and reads the annotations: no `from __future__ import annotations`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

SCRATCH = 1 << 18  # elements of the array of products, which stays in the cache
OPERANDS = ((1, 2), (0, 2), (0, 1))  # the two operands that lead to slots 0, 1 and 2


class Products(NamedTuple):
    """sum_r u_r x_i(r) y_j(r): where i, then j, start in a table of integers, how many terms, rows of x and y."""

    start: int
    terms: int
    first: int
    second: int


class Block(NamedTuple):
    """A dense block: its rows in u, its columns in v."""

    row: int
    rows: int
    column: int
    columns: int


def polynomials(
    x: Tensor, p: Tensor, table: Tensor, stages: list[Products], final: Products, blocks: list[Block]
) -> Tensor:
    """z (outputs, G, T) of x (d, G, T) and coefficients p (G, sum of block sizes).

    stages: products that make the columns v from x and a last component 1; final: sum_r T_r z_M(r) x_k(r).
    """
    extended = torch.cat([x, torch.ones_like(x[:1])])
    v = extended
    for stage in stages:
        v = sparse_product(v, extended, table, stage, 0)
    return sparse_product(block_product(p, v, blocks, 0), x, table, final, 1)


def sparse_product(first: Tensor, second: Tensor, table: Tensor, products: Products, slot: int) -> Tensor:
    """The derivative of sum_r u_r x_i(r) y_j(r) in one slot, from the other two in their order."""
    if torch.jit.is_scripting() or not torch.is_grad_enabled():
        return sum_products(first, second, table, products, slot)
    return _SparseProduct.apply(first, second, table, products, slot)


def block_product(first: Tensor, second: Tensor, blocks: list[Block], slot: int) -> Tensor:
    """The derivative of sum_b u_b^T P_b v_b in one slot, from the other two in their order.

    u (R, G, T), v (S, G, T), P (G, sum of block sizes), each block row by row.
    """
    if torch.jit.is_scripting() or not torch.is_grad_enabled():
        return multiply_blocks(first, second, blocks, slot)
    return _BlockProduct.apply(first, second, blocks, slot)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, first: Tensor, second: Tensor, table: Tensor, products: Products, slot: int) -> Tensor:
        ctx.save_for_backward(first, second, table)
        ctx.products, ctx.slot = products, slot
        return sum_products(first, second, table, products, slot)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        *operands, table = ctx.saved_tensors
        pairs = _exchanged(ctx.slot, operands, grad)
        grads = [
            _SparseProduct.apply(*pair, table, ctx.products, slot) if needed else None
            for (slot, pair), needed in zip(pairs, ctx.needs_input_grad[:2], strict=True)
        ]
        return (*grads, None, None, None)


class _BlockProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, first: Tensor, second: Tensor, blocks: list[Block], slot: int) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.blocks, ctx.slot = blocks, slot
        return multiply_blocks(first, second, blocks, slot)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        pairs = _exchanged(ctx.slot, ctx.saved_tensors, grad)
        grads = [
            _BlockProduct.apply(*pair, ctx.blocks, slot) if needed else None
            for (slot, pair), needed in zip(pairs, ctx.needs_input_grad[:2], strict=True)
        ]
        return (*grads, None, None)


def _exchanged(slot: int, operands: list, grad: Tensor) -> list[tuple[int, tuple]]:
    """For both operands of a form that led to `slot`: their own slot, and what leads to it."""
    known = dict(zip(OPERANDS[slot], operands, strict=True)) | {slot: grad}
    return [(other, tuple(known[s] for s in OPERANDS[other])) for other in OPERANDS[slot]]


def sum_products(
    first: Tensor, second: Tensor, table: Tensor, products: Products, slot: int, scratch: int = SCRATCH
) -> Tensor:
    """`sparse_product` in plain operations, some products at a time."""
    i = table.narrow(0, products.start, products.terms)
    j = table.narrow(0, products.start + products.terms, products.terms)
    if torch.is_grad_enabled():  # in TorchScript only: what follows works in place
        if slot == 0:
            return first.index_select(0, i) * second.index_select(0, j)
        terms = first * second.index_select(0, j if slot == 1 else i)
        return _zeros(first, products, slot).index_add(0, i if slot == 1 else j, terms)
    step = max(1, scratch // max(1, first.shape[1] * first.shape[2]))
    if slot == 0 and products.terms <= step:
        return first.index_select(0, i).mul_(second.index_select(0, j))
    if slot == 0:
        out = first.new_empty([products.terms, first.shape[1], first.shape[2]])
    else:
        out = _zeros(first, products, slot)
    for start in range(0, products.terms, step):
        count = min(step, products.terms - start)
        if slot == 0:
            part = out.narrow(0, start, count)
            # PyG replaces torch.index_select by a function that TorchScript cannot read.
            torch.ops.aten.index_select(first, 0, i.narrow(0, start, count), out=part)
            part.mul_(second.index_select(0, j.narrow(0, start, count)))
        else:
            other, owner = (j, i) if slot == 1 else (i, j)
            terms = second.index_select(0, other.narrow(0, start, count)).mul_(first.narrow(0, start, count))
            out.index_add_(0, owner.narrow(0, start, count), terms)
    return out


def _zeros(first: Tensor, products: Products, slot: int) -> Tensor:
    rows = products.first if slot == 1 else products.second
    return first.new_zeros([rows, first.shape[1], first.shape[2]])


def multiply_blocks(first: Tensor, second: Tensor, blocks: list[Block], slot: int) -> Tensor:
    """`block_product` in plain operations."""
    parts: list[Tensor] = []
    start = 0
    for block in blocks:
        size = block.rows * block.columns
        if slot == 1:
            u = first.narrow(0, block.row, block.rows).permute(1, 0, 2)
            v = second.narrow(0, block.column, block.columns).permute(1, 2, 0)
            parts.append(torch.bmm(u, v).view(-1, size))
        elif slot == 0:
            p = first.narrow(1, start, size).view(-1, block.rows, block.columns)
            v = second.narrow(0, block.column, block.columns).transpose(0, 1)
            parts.append(torch.bmm(p, v).transpose(0, 1))
        else:
            p = second.narrow(1, start, size).view(-1, block.rows, block.columns)
            u = first.narrow(0, block.row, block.rows).transpose(0, 1)
            parts.append(torch.bmm(p.transpose(1, 2), u).transpose(0, 1))
        start += size
    return torch.cat(parts, dim=1 if slot == 1 else 0)
