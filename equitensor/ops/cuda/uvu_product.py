"""The uvu product of items on a GPU: a convolution (csrc/cuda/uvu_convolution.cu) whose edges lead nowhere else."""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.cuda import uvu_convolution
from equitensor.ops.cuda.edges import Remembered
from equitensor.ops.cuda.proof import Draw
from equitensor.ops.uvu_paths import pack_paths, unpack_groups


def small(draw: Draw, operands: tuple, constants: tuple) -> tuple[tuple, tuple]:
    """Of the convolution whose kernels these are: with them it may have more than one edge for a node."""
    (x, y, _), (table, plan, width) = operands, constants
    return uvu_convolution.small(draw, operands, (*_constants(x, y, table, plan), width))


def values(x, y, w, table, plan, width):
    return uvu_convolution.values(x, y, w, *_constants(x, y, table, plan), width)


def gradients(x, y, w, g, need_x, need_y, need_w, table, plan, width):
    needs = need_x, need_y, need_w
    return uvu_convolution.gradients(x, y, w, g, *needs, *_constants(x, y, table, plan), width)


def tangents(x, y, w, g, h_x, h_y, h_w, table, plan, width):

    return uvu_convolution.tangents(x, y, w, g, h_x, h_y, h_w, *_constants(x, y, table, plan), width)


def _constants(x: Tensor, y: Tensor, table: Tensor, plan: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sender, receiver, and the couplings as the convolution takes them."""
    items = torch.arange(len(x), device=x.device)
    paths, couplings = _repacked(plan, table, y.shape[1])
    return items, items, couplings, paths


def _by_path(plan: Tensor, table: Tensor, width: int) -> tuple[Tensor, Tensor]:
    paths, couplings = [], []
    for group in unpack_groups(plan, table, width):
        matrix = group.matrix.view(width, group.i, group.rows)
        for row, p in group.paths:
            paths.append(p)
            couplings.append(matrix[p.y : p.y + p.j, :, row : row + p.k])
    return pack_paths(paths, couplings)


_repacked = Remembered(_by_path)
