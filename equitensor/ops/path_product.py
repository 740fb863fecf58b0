"""Clebsch-Gordan products path by path: of two features, and of senders and edges in a convolution."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.ops.contraction import transform


class Path(NamedTuple):
    """Slices of the two operands and of the output on the component axis (channels-last)."""

    first: slice
    second: slice
    out: slice


class EdgePath(NamedTuple):
    """One uvu path of a convolution: start of its input block in a flat row, mul, 2 l1 + 1, 2 l3 + 1."""

    start: int
    mul: int
    d_in: int
    d_out: int


def path_product(
    x: Tensor, y: Tensor, weight: Tensor, couplings: list[Tensor], paths: list[Path], d_out: int
) -> Tensor:
    """z_k = sum over paths of w_p sum_ij T^p_kij x_i y_j, channelwise: (..., d_out, C).

    x (..., d1, C), y (..., d2, C), weight (..., P, C), couplings[p] (2 l3 + 1, (2 l1 + 1) (2 l2 + 1)).
    """
    shape = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2], weight.shape[:-2])
    z = x.new_zeros(*shape, d_out, x.shape[-1])
    outer_products: dict[tuple[int, int], Tensor] = {}
    pieces: dict[int, list[Tensor]] = {}
    for p, (path, coupling) in enumerate(zip(paths, couplings, strict=True)):
        pair = (path.first.start, path.second.start)
        if pair not in outer_products:
            outer_products[pair] = outer(x[..., path.first, :], y[..., path.second, :])
        piece = transform(coupling, outer_products[pair]) * weight[..., p, None, :]
        pieces.setdefault(path.out.start, []).append(piece)
    blocks = [sum(pieces[start]) for start in sorted(pieces)]
    return z + torch.cat(blocks, dim=-2)


def outer(x: Tensor, y: Tensor) -> Tensor:
    """x_i y_j per channel: (..., d1 d2, C)."""
    return (x.unsqueeze(-2) * y.unsqueeze(-3)).flatten(-3, -2)


def path_convolution(
    x: Tensor,
    edge_attr: Tensor,
    edge_weight: Tensor,
    edge_index: Tensor,
    coupling: Tensor,
    paths: list[EdgePath],
) -> Tensor:
    """z_i = sum over edges j -> i of w_ij . (x_j (x) y_ij), uvu, a block per path: (n, sum of mul d_out).

    Coupling and filter make one matrix (d_in, d_out) per edge and path; a path is then a batched product.

    Args:
        x: (n, d) flat mul_ir.
        edge_attr: (e, d2), multiplicity 1.
        edge_weight: (e, sum of mul), path after path.
        edge_index: (2, e), sender and receiver.
        coupling: (d2, sum of d_in d_out), path after path.
    """
    sender, receiver = edge_index
    gathered = x.index_select(0, sender)
    filters = (edge_attr @ coupling).split([p.d_in * p.d_out for p in paths], dim=1)
    weights = edge_weight.split([p.mul for p in paths], dim=1)
    messages = [_path_message(gathered, f, w, path) for f, w, path in zip(filters, weights, paths, strict=True)]
    out = x.new_zeros(x.shape[0], sum(p.mul * p.d_out for p in paths))
    return out.index_add(0, receiver, torch.cat(messages, dim=1))


def _path_message(gathered: Tensor, filters: Tensor, weight: Tensor, path: EdgePath) -> Tensor:
    edges = gathered.shape[0]
    block = gathered[:, path.start : path.start + path.mul * path.d_in].reshape(edges, path.mul, path.d_in)
    message = block.bmm(filters.reshape(edges, path.d_in, path.d_out)) * weight.unsqueeze(2)
    return message.flatten(1)
