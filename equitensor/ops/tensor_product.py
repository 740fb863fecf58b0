"""Clebsch-Gordan products of features in e3nn's flat layout, any multiplicities, path by path, in every mode.

A path couples blocks x_u (u copies of 2 l1 + 1 components) and y_v to z_w with a tensor W_ijk, in one of two ways:
every pair of copies, T_uvk = sum_ij W_ijk x_ui y_vj, or copy by copy, T_uk = sum_ij W_ijk x_ui y_uj. The mode
says which, and over what the weights sum:

    uvw    z_w  = sum_uv w_uvw T_uv          uuw    z_w  = sum_u w_uw T_u
    uvu    z_u  = sum_v w_uv T_uv            uuu    z_u  = w_u T_u
    uvv    z_v  = sum_u w_uv T_uv            uvu<v  z_uv = w_uv T_uv, pairs u < v
    uvuv   z_uv = w_uv T_uv                  u<vw   z_w  = sum_(u<v) w_uvw T_uv

Plain operations that TorchScript, torch.compile and torch.export can follow, differentiable any number of times
(TorchScript reads the annotations: no `from __future__ import annotations` here).
A letter n stands for the items, a prefix "z" in an einsum for weights that each item has to itself.
"""

from typing import NamedTuple

import torch
from torch import Tensor

MODES = ("uvw", "uvu", "uvv", "uuw", "uuu", "uvuv", "uvu<v", "u<vw")


class ProductPath(NamedTuple):
    """One path, as plain integers and floats.

    mode; slots of the operands and of the output; multiplicities u, v, w; degrees' sizes i, j, k; the entry W_000
    (all there is to know of W where a degree is zero); where W (j, i, k) starts in `table` and its size, 1 where only
    W_000 is needed; the index of its weights, -1 for none; for uvw, the operand that meets the weights first (0: none).
    """

    mode: str
    first: int
    second: int
    out: int
    u: int
    v: int
    w: int
    i: int
    j: int
    k: int
    scale: float
    start: int
    size: int
    weight: int
    order: int


def tensor_product(
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    table: Tensor,
    paths: list[ProductPath],
    sizes1: list[int],
    sizes2: list[int],
    sizes_out: list[int],
    weight_sizes: list[int],
) -> Tensor:
    """z = sum over paths: (n, sum of sizes_out).

    x (n, sum of sizes1) and y (n, sum of sizes2), a block per irrep; weight (sum of weight_sizes,) or with (n, ...)
    in front; table: the coupling tensors, flat; paths sorted by output.
    """
    n = x.shape[0]
    blocks1, blocks2 = x.split(sizes1, dim=1), y.split(sizes2, dim=1)
    weights = weight.split(weight_sizes, dim=-1)
    pieces: list[Tensor] = []
    slot = 0
    for path in paths:
        first = blocks1[path.first].reshape(n, path.u, path.i)
        second = blocks2[path.second].reshape(n, path.v, path.j)
        w = weights[path.weight] if path.weight >= 0 else weight
        coupling = table.narrow(0, path.start, path.size)
        piece = path_term(first, second, w, coupling, path).reshape(n, sizes_out[path.out])
        if path.out + 1 == slot:
            pieces[-1] = pieces[-1] + piece
        else:
            for empty in range(slot, path.out):
                pieces.append(x.new_zeros(n, sizes_out[empty]))
            pieces.append(piece)
        slot = path.out + 1
    for empty in range(slot, len(sizes_out)):
        pieces.append(x.new_zeros(n, sizes_out[empty]))
    return torch.cat(pieces, dim=1)


def as_rows(x: Tensor, lead: list[int], width: int) -> Tensor:
    """(..., width) broadcast to the leading shape `lead`, as rows (n, width)."""
    items = 1
    for size in lead:
        items = items * size
    return x.expand(lead + [width]).reshape(items, width)  # noqa: RUF005  TorchScript knows no [*lead, width]


def path_term(x: Tensor, y: Tensor, weight: Tensor, coupling: Tensor, path: ProductPath) -> Tensor:
    """What one path adds to its output: x (n, u, i), y (n, v, j), weight (..., path's weights) -> (n, w, k)."""
    mode = path.mode
    if mode == "uvw":
        return fully_connected(x, y, weight, coupling, path)
    if mode == "uvu":
        return connected_to_first(x, y, weight, coupling, path)
    if mode == "uvv":
        return connected_to_second(x, y, weight, coupling, path)
    if mode == "uvuv":
        pairs = couple_pairs(x, y, coupling, path)
        return pairs if path.weight < 0 else pairs * weight.view(-1, path.u, path.v, 1)
    if mode == "uvu<v" or mode == "u<vw":
        index = torch.triu_indices(path.u, path.u, 1, device=x.device)
        x, y = x.index_select(1, index[0]), y.index_select(1, index[1])
    matched = couple_matching(x, y, coupling, path)
    if mode == "uuw" or mode == "u<vw":
        return mix(matched, weight, path)
    return matched if path.weight < 0 else matched * weight.unsqueeze(-1)


def couple_pairs(x: Tensor, y: Tensor, coupling: Tensor, path: ProductPath) -> Tensor:
    """T_uvk = sum_ij W_ijk x_ui y_vj: (n, u, v, k)."""
    if path.i == 1 or path.j == 1:
        return x.unsqueeze(2) * (y * path.scale).unsqueeze(1)
    if path.k == 1:
        return torch.bmm(x * path.scale, y.transpose(1, 2)).unsqueeze(3)
    n, v = y.shape[0], y.shape[1]
    rows = y.reshape(-1, path.j) @ coupling.view(path.j, path.i * path.k)
    if v == 1:
        return torch.bmm(x, rows.view(n, path.i, path.k)).unsqueeze(2)
    matrix = rows.view(n, v, path.i, path.k).transpose(1, 2).reshape(n, path.i, v * path.k)
    return torch.bmm(x, matrix).view(n, x.shape[1], v, path.k)


def couple_one(x: Tensor, y: Tensor, coupling: Tensor, path: ProductPath) -> Tensor:
    """T_ku = sum_ij W_ijk x_ui y_j, of a single y: (n, k, u), as a matrix of weights takes it without a copy."""
    if path.i == 1 or path.j == 1:
        return (y * path.scale).transpose(1, 2) * x.transpose(1, 2)
    if path.k == 1:
        return torch.bmm(y * path.scale, x.transpose(1, 2))
    rows = (y.squeeze(1) @ coupling.view(path.j, path.i * path.k)).view(-1, path.i, path.k)
    return torch.bmm(rows.transpose(1, 2), x.transpose(1, 2))


def couple_matching(x: Tensor, y: Tensor, coupling: Tensor, path: ProductPath) -> Tensor:
    """T_uk = sum_ij W_ijk x_ui y_uj: (n, u, k)."""
    if path.i == 1 or path.j == 1:
        return x * y * path.scale
    if path.k == 1:
        return (x * y).sum(2, keepdim=True) * path.scale
    products = (y.unsqueeze(3) * x.unsqueeze(2)).flatten(2)
    return products @ coupling.view(path.j * path.i, path.k)


def connected_to_first(x: Tensor, y: Tensor, weight: Tensor, coupling: Tensor, path: ProductPath) -> Tensor:
    """uvu: x is coupled with the sum of y that its weights make."""
    if path.weight < 0:
        return couple_pairs(x, y.sum(1, keepdim=True), coupling, path).squeeze(2)
    if path.v == 1:
        return couple_pairs(x, y, coupling, path).squeeze(2) * weight.unsqueeze(-1)
    if weight.dim() == 1:
        mixed = torch.einsum("uv,nvj->nuj", weight.view(path.u, path.v), y)
    else:
        mixed = torch.bmm(weight.view(-1, path.u, path.v), y)
    return couple_matching(x, mixed, coupling, path)


def connected_to_second(x: Tensor, y: Tensor, weight: Tensor, coupling: Tensor, path: ProductPath) -> Tensor:
    """uvv: y is coupled with the sum of x that its weights make."""
    if path.weight < 0:
        return couple_pairs(x.sum(1, keepdim=True), y, coupling, path).squeeze(1)
    if path.u == 1:
        return couple_pairs(x, y, coupling, path).squeeze(1) * weight.unsqueeze(-1)
    if weight.dim() == 1:
        mixed = torch.einsum("uv,nui->nvi", weight.view(path.u, path.v), x)
    else:
        mixed = torch.bmm(weight.view(-1, path.u, path.v).transpose(1, 2), x)
    return couple_matching(mixed, y, coupling, path)


def fully_connected(x: Tensor, y: Tensor, weight: Tensor, coupling: Tensor, path: ProductPath) -> Tensor:
    """uvw, in the order that costs least: the coupling first, or one operand into the weights first."""
    if path.order == 0 and path.v == 1 and weight.dim() == 1:
        return couple_one(x, y, coupling, path).matmul(weight.view(path.u, path.w)).transpose(1, 2)
    if path.order == 0:
        return mix(couple_pairs(x, y, coupling, path).flatten(1, 2), weight, path)
    own = weight.dim() > 1
    shape = [path.u, path.v, path.w]
    w = weight.view([weight.shape[0], path.u, path.v, path.w] if own else shape)
    if path.order == 1:
        mixed = torch.einsum("zui,zuvw->zivw" if own else "zui,uvw->zivw", x, w)
        products = torch.einsum("zvj,zivw->zwji", y, mixed)
    else:
        mixed = torch.einsum("zvj,zuvw->zjuw" if own else "zvj,uvw->zjuw", y, w)
        products = torch.einsum("zui,zjuw->zwji", x, mixed)
    if path.i == 1 or path.j == 1:
        return products.flatten(2) * path.scale
    if path.k == 1:
        return products.diagonal(dim1=2, dim2=3).sum(2, keepdim=True) * path.scale
    return products.flatten(2) @ coupling.view(path.j * path.i, path.k)


def mix(terms: Tensor, weight: Tensor, path: ProductPath) -> Tensor:
    """z_wk = sum_p weight_pw terms_pk: (n, p, k) -> (n, w, k)."""
    if path.weight < 0:
        return terms.sum(1, keepdim=True)
    rows = terms.shape[1]
    if weight.dim() == 1:
        return torch.einsum("npk,pw->nwk", terms, weight.view(rows, path.w))
    return torch.bmm(weight.view(-1, rows, path.w).transpose(1, 2), terms)


def cheapest_order(u: int, v: int, w: int, i: int, j: int, k: int) -> int:
    """For uvw: 0 couple first, 1 x into the weights first, 2 y into the weights first.

    Multiplications per item, and ten for each number of an intermediate result that must be written and read; sixty
    for those of the last order, whose result has the size of the weights (by the time of a force step).
    """
    costs = (
        u * v * i * k + u * v * w * k + 10 * u * v * k,
        i * u * v * w + i * j * v * w + i * j * k * w + 10 * i * v * w,
        j * u * v * w + i * j * u * w + i * j * k * w + 60 * j * u * w,
    )
    return costs.index(min(costs))
