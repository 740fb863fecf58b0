"""The paths of a product "uvu" whose second operand has multiplicity one, as plain integers, and how they are packed.

Path p takes C copies of 2 l1 + 1 components at `x`, 2 l2 + 1 components at `y` and C weights at `w` to C copies of
2 l3 + 1 components at `z`: z_ck = w_c sum_ij W_jik x_ci y_j. An operator gets the paths as one integer tensor and
the coupling tensors as one flat table; nothing else about them is known below `nn`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class UVUPath(NamedTuple):
    """Where the block of each operand starts in its row, its 2 l + 1, and C."""

    x: int
    y: int
    w: int
    z: int
    mul: int
    i: int
    j: int
    k: int


class Group(NamedTuple):
    """All paths of one block of x: their coupling as one matrix (width of y, i rows), and (first row, path)."""

    x: int
    mul: int
    i: int
    rows: int
    matrix: Tensor
    paths: list[tuple[int, UVUPath]]


def check_rows(name: str, x: Tensor, y: Tensor, w: Tensor, table: Tensor, plan: Tensor) -> None:
    """RuntimeError unless these are what a kernel can read."""
    if not x.dim() == y.dim() == w.dim() == 2:
        raise RuntimeError(f"{name}: x, y and w must be matrices")
    if table.dtype != x.dtype:
        raise RuntimeError(f"{name}: x is {x.dtype}, another operand {table.dtype}")
    if plan.dim() != 2 or plan.shape[1] != 8 or plan.dtype != torch.int64:
        raise RuntimeError(f"{name}: plan must be (paths, 8) int64")


def check_edges(name: str, y: Tensor, w: Tensor, sender: Tensor, receiver: Tensor) -> None:
    counts = (y.shape[0], w.shape[0], sender.numel(), receiver.numel())
    if len(set(counts)) > 1:
        raise RuntimeError(
            f"{name}: {counts[0]} rows of y, {counts[1]} of w, {counts[2]} senders, {counts[3]} receivers: one of each "
            "per edge is needed"
        )
    if sender.dtype != torch.int64 or receiver.dtype != torch.int64:
        raise RuntimeError(f"{name}: senders and receivers must be int64")


def pack_paths(paths: list[UVUPath], couplings: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(plan, table) for an operator that takes path by path; couplings[p] (2 l2 + 1, 2 l1 + 1, 2 l3 + 1)."""
    return torch.tensor(paths, dtype=torch.int64), torch.cat([c.flatten() for c in couplings])


def unpack_paths(plan: Tensor, table: Tensor) -> list[tuple[UVUPath, Tensor]]:
    """Each path with its coupling as a matrix (2 l2 + 1, (2 l1 + 1) (2 l3 + 1))."""
    paths = [UVUPath(*row) for row in plan.tolist()]
    blocks = table.split([p.i * p.j * p.k for p in paths])
    return [(p, block.view(p.j, p.i * p.k)) for p, block in zip(paths, blocks, strict=True)]


def pack_groups(paths: list[UVUPath], couplings: list[Tensor], width: int) -> tuple[Tensor, Tensor]:
    """(plan, table) for an operator that takes all paths of a block of x at once; y has `width` components."""
    ordered = sorted(zip(paths, couplings, strict=True), key=lambda pair: pair[0].x)
    blocks = {}
    for path, coupling in ordered:
        matrix = coupling.new_zeros(width, path.i, path.k)
        matrix[path.y : path.y + path.j] = coupling
        blocks.setdefault(path.x, []).append(matrix)
    table = torch.cat([torch.cat(parts, dim=2).flatten() for parts in blocks.values()])
    return torch.tensor([path for path, _ in ordered], dtype=torch.int64), table


def unpack_groups(plan: Tensor, table: Tensor, width: int) -> list[Group]:
    """The inverse of `pack_groups`."""
    blocks: dict[int, list[UVUPath]] = {}
    for row in plan.tolist():
        blocks.setdefault(row[0], []).append(UVUPath(*row))
    groups, start = [], 0
    for x, paths in blocks.items():
        ends = torch.tensor([0] + [p.k for p in paths]).cumsum(0).tolist()
        rows, (mul, i) = ends[-1], paths[0][4:6]
        matrix = table[start : start + width * rows * i].view(width, i * rows)
        groups.append(Group(x, mul, i, rows, matrix, list(zip(ends, paths, strict=False))))
        start += matrix.numel()
    return groups
