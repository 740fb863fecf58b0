"""Which operation computes a tensor product: one for all paths at once where the modes allow it, else path by path."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equitensor.interfaces.e3nn.instructions import Instruction
from equitensor.ops import uuu_product  # noqa: F401  registers the operator that TorchScript calls
from equitensor.ops.availability import WHY_NOT
from equitensor.ops.tensor_product import ProductPath, cheapest_order
from equitensor.ops.uuu_workspace import UUUPath, pack_pairs
from equitensor.ops.uvu_paths import UVUPath, pack_groups, pack_paths
from equitensor.ops.uvu_product import uvu_product  # noqa: F401  registers the operator that TorchScript calls


def choose_form(items: list[Instruction], irreps: tuple, shared: bool) -> str:
    """ "uvu" where the second operand has multiplicity one and items their own weights, "uuu", or "paths".

    Where a degree of every path is zero there is nothing to couple: in plain torch a product of scalars is quickest as
    it is.
    """
    if not items:
        return "paths"
    blocks = [[space[slot] for space, slot in zip(irreps, item[:3], strict=True)] for item in items]
    modes, weighted = {item.connection_mode for item in items}, {bool(item.has_weight) for item in items}
    coupled = any(min(ir.l for _, ir in block) > 0 for block in blocks)
    if modes == {"uvu"} and weighted == {True} and not shared and all(block[1].mul == 1 for block in blocks):
        return "uvu"
    counts = {mul for space in irreps for mul, _ in space}
    if modes == {"uuu"} and len(weighted) == 1 and len(counts) == 1 and (coupled or WHY_NOT is None):
        return "uuu"
    return "paths"


def uvu_tables(items: list[Instruction], couplings: list[Tensor], irreps: tuple) -> tuple[Tensor, Tensor]:
    """(plan, table) of `ops.uvu_product`; couplings (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
    return pack_groups(_uvu_paths(items, couplings, irreps), [c.transpose(0, 1) for c in couplings], irreps[1].dim)


def convolution_tables(items: list[Instruction], couplings: list[Tensor], irreps: tuple) -> tuple[Tensor, Tensor]:
    """(plan, table) of `ops.uvu_convolution`."""
    if not items:
        return torch.zeros(0, 8, dtype=torch.int64), torch.zeros(0, dtype=torch.float64)
    return pack_paths(_uvu_paths(items, couplings, irreps), [c.transpose(0, 1) for c in couplings])


def _uvu_paths(items: list[Instruction], couplings: list[Tensor], irreps: tuple) -> list[UVUPath]:
    starts = [[part.start for part in space.slices()] for space in irreps]
    paths, weight = [], 0
    for item, coupling in zip(items, couplings, strict=True):
        x, y, z = (start[slot] for start, slot in zip(starts, item[:3], strict=True))
        paths.append(UVUPath(x, y, weight, z, irreps[0][item.i_in1].mul, *coupling.shape))
        weight += math.prod(item.path_shape)
    return paths


def uuu_tables(items: list[Instruction], couplings: list[Tensor], irreps: tuple) -> tuple[Tensor, Tensor]:
    """(plan, table) of `ops.uuu_product`."""
    starts = [torch.tensor([0] + [ir.dim for _, ir in space]).cumsum(0).tolist() for space in irreps]
    paths = []
    for row, (item, coupling) in enumerate(zip(items, couplings, strict=True)):
        x, y, z = (start[slot] for start, slot in zip(starts, item[:3], strict=True))
        paths.append(UUUPath(x, y, row, z, *coupling.shape))
    return pack_pairs(paths, couplings)


def path_tables(items: list[Instruction], couplings: list[Tensor], irreps: tuple) -> tuple[list, list[int], Tensor]:
    """(paths sorted by output, sizes of their weights, table) of `ops.tensor_product`."""
    paths, blocks, start, weights = [], [couplings[0].new_zeros(1)] if couplings else [torch.zeros(1).double()], 1, []
    for item, block in zip(items, couplings, strict=True):
        u, v, w = (space[slot].mul for space, slot in zip(irreps, item[:3], strict=True))
        i, j, k = block.shape
        dense = min(block.shape) > 1
        index = len(weights) if item.has_weight else -1
        order = cheapest_order(u, v, w, i, j, k) if item.connection_mode == "uvw" else 0
        place = (start, block.numel()) if dense else (0, 1)
        scale = float(block[0, 0, 0])
        slots = (item.i_in1, item.i_in2, item.i_out)
        paths.append(ProductPath(item.connection_mode, *slots, u, v, w, i, j, k, scale, *place, index, order))
        if item.has_weight:
            weights.append(math.prod(item.path_shape))
        if dense:
            blocks.append(block.transpose(0, 1).flatten())
            start += block.numel()
    return sorted(paths, key=lambda path: path.out), weights, torch.cat(blocks)
