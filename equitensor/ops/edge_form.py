"""Sums over the neighbours of atoms, and read-outs along edges, as derivatives of one form.

F = sum over atoms i, slots j, components m, channels c of Y_ijm a_ijc b_ijc G_imc. `gather_edges` is dF/dG,
`read_edges` dF/db with rows at the reverse edges. The derivatives of both are other derivatives of F, which the
compiled operators (csrc/ops/edge_form.inl) fuse, to the second order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops import extension
from equitensor.ops.cuda import edge_form as on_gpu
from equitensor.ops.cuda.dispatch import implement
from equitensor.ops.extension import compiled


def gather_edges(harmonics: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """sum_j Y_ijm a_ijc b_ijc: (n, d, C).

    harmonics Y (n, width, d), a and b (n width, C). float32 or float64.
    """
    if compiled(harmonics, a, b, on_gpu=harmonics.shape[2] <= on_gpu.MOST_COMPONENTS):
        return torch.ops.equitensor.edge_gather(harmonics, a, b)
    return gather_edges_reference(harmonics, a, b)


def read_edges(harmonics: Tensor, features: Tensor, factor: Tensor, rev: Tensor) -> Tensor:
    """r_e sum_m Y_e'm G_im at every slot e, e' the reverse of e, in the row of atom i: (n width, C).

    harmonics Y (n, width, d), features G (n, d, C), factor r (n width, C), rev (n width,) an involution of the slots.
    """
    if compiled(harmonics, features, factor, on_gpu=harmonics.shape[2] <= on_gpu.MOST_COMPONENTS):
        return torch.ops.equitensor.edge_read(harmonics, features, factor, rev)
    return read_edges_reference(harmonics, features, factor, rev)


def gather_edges_reference(harmonics: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.bmm(harmonics.transpose(1, 2), (a * b).view(*harmonics.shape[:2], a.shape[1]))


def read_edges_reference(harmonics: Tensor, features: Tensor, factor: Tensor, rev: Tensor) -> Tensor:
    return torch.bmm(harmonics, features).flatten(0, 1).index_select(0, rev) * factor


if extension.WHY_NOT is None:
    implement("edge_gather", 3, on_gpu.gather)
    implement("edge_read", 3, on_gpu.read)
    implement("edge_first", 4, on_gpu.first)
    implement("edge_second", 4, on_gpu.second)
