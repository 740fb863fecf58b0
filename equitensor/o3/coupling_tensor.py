"""The Gaunt tensor of whole features as a sparse tensor, ordered by what the three mirror planes leave of it.

Every real harmonic is even or odd under x -> -x, y -> -y and z -> -z, and a product of two keeps the product of
their signs: eight classes, and an eighth of the entries.
"""

from __future__ import annotations

import torch

from equitensor.o3.gaunt import gaunt
from equitensor.o3.poisson import poisson
from equitensor.o3.signals import signal


def coupling_tensor(irs1, irs2, irs_out, odd: bool = False) -> torch.Tensor:
    """T (d1, d2, d3), float64: the Gaunt tensor of every even path, with `odd` the bracket's of every odd one."""
    spaces = (irs1, irs2, irs_out)
    tensor = torch.zeros([sum(ir.dim for ir in irs) for irs in spaces], dtype=torch.float64)
    for ir1, rows in _blocks(irs1):
        for ir2, columns in _blocks(irs2):
            for ir3, out in _blocks(irs_out):
                even = (ir1.l + ir2.l + ir3.l) % 2 == 0
                if abs(ir1.l - ir2.l) <= ir3.l <= ir1.l + ir2.l and ir1.p * ir2.p == ir3.p and (even or odd):
                    tensor[rows, columns, out] = (gaunt if even else poisson)(ir1.l, ir2.l, ir3.l)
    return tensor


def mirror_classes(irs) -> torch.Tensor:
    """Number 0 to 7 of each component: bits 1, 2, 4 where it changes sign under the mirrors of x, y and z."""
    classes = []
    for ir in irs:
        for m in range(-ir.l, ir.l + 1):
            # r^l Y_lm is a polynomial in y times the real (m >= 0) or imaginary (m < 0) part of (z + i x)^|m|.
            x, y, z = int(m < 0), (ir.l - abs(m)) % 2, (abs(m) - int(m < 0)) % 2
            classes.append((x + 2 * y + 4 * z) ^ (0 if signal(ir) == 1 else 7))
    return torch.tensor(classes, dtype=torch.long)


def group_pairs(tensor: torch.Tensor, classes: tuple) -> tuple[torch.Tensor, ...]:
    """first (G, P), second (G, P), matrix (G, K, P), position (d3,) of T (d1, d2, d3), a group per class of z.

    Pairs (i, j) without any entry are left out; padding is pair (0, 0) with zeros in the matrix.
    """
    groups = classes[2].unique().tolist()
    outs = [(classes[2] == group).nonzero().flatten() for group in groups]
    pairs = [tensor[:, :, out].any(dim=2).nonzero() for out in outs]
    size = (max(map(len, outs), default=0), max(map(len, pairs), default=0))
    index = torch.zeros(2, len(groups), size[1], dtype=torch.long)
    matrix = torch.zeros(len(groups), *size, dtype=torch.float64)
    position = torch.zeros(tensor.shape[2], dtype=torch.long)
    for g, (out, pair) in enumerate(zip(outs, pairs, strict=True)):
        index[:, g, : len(pair)] = pair.T
        matrix[g, : len(out), : len(pair)] = tensor[pair[:, 0], pair[:, 1]][:, out].T
        position[out] = g * size[0] + torch.arange(len(out))
    return index[0], index[1], matrix, position


def _blocks(irs) -> list[tuple]:
    ends = torch.tensor([ir.dim for ir in irs]).cumsum(0).tolist()
    return [(ir, slice(end - ir.dim, end)) for ir, end in zip(irs, ends, strict=True)]
