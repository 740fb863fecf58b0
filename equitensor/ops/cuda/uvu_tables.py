"""A uvu convolution as constants of C++: what csrc/cuda/uvu_convolution.cu includes as problem.h.

Work is cut into parts, each for its own blocks of threads: the blocks of z whose sums one thread can hold for the pass
over receivers, those of x for the pass over senders.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.ops.cuda.source import CPP_TYPES, Unsupported, constants, table
from equitensor.ops.cuda.threads import block_shape
from equitensor.ops.uvu_paths import UVUPath

REGISTERS = 192  # bytes of sums that a thread holds; as much again for gradients where they are needed
STAGED = 512  # entries of M that a block holds of one edge
SHARED = 20480  # bytes of M that a block holds
VECTOR = 16  # bytes that a thread reads of M at once
MOST_SHARED = 40960  # bytes of M of one edge; more does not fit beside the rest


class WantedTerms(NamedTuple):
    """What is asked for: the operands that are moved (to a, M', b); z, dy, dw, dx wanted; gradients: b is w for dx."""

    moved_x: bool = False
    moved_y: bool = False
    moved_w: bool = False
    sums: bool = False
    wanted_y: bool = False
    wanted_w: bool = False
    sends: bool = False
    gradients: bool = False


class Shape(NamedTuple):
    """Threads (lanes, rows) of a block, tiles of channels, and the parts of the two passes."""

    lanes: int
    rows: int
    tiles: int
    receiver_parts: int
    sender_parts: int


class Problem(NamedTuple):
    """Paths whose coupling is not zero, with their entries of M: (i, k, [(column of y, factor)]).

    A path's entries fill whole vectors: those at the end have no terms, and are not counted in `filled`.
    """

    paths: list[UVUPath]
    entries: dict[UVUPath, list]
    filled: dict[UVUPath, int]
    widths: tuple[int, int, int, int]
    dtype: torch.dtype


def build_problem(
    paths: list[tuple[UVUPath, Tensor]], widths: tuple[int, int, int, int], dtype: torch.dtype
) -> Problem:
    """paths as `unpack_paths` gives them, on the CPU; widths of the rows of x, y, w, z."""
    entries = {path: nonzero for path, coupling in paths if (nonzero := list(_entries(path, coupling)))}
    for start, size in ((lambda p: p.x, lambda p: p.i), (lambda p: p.z, lambda p: p.k)):
        blocks = sorted({(start(p), p.mul * size(p), p.mul) for p in entries})
        if any(low[0] + low[1] > high[0] for low, high in itertools.pairwise(blocks)):
            raise Unsupported("blocks of different paths overlap")
    filled = {path: len(nonzero) for path, nonzero in entries.items()}
    vector = VECTOR * 8 // torch.finfo(dtype).bits
    for nonzero in entries.values():
        nonzero += [(0, 0, [])] * (-len(nonzero) % vector)
    return Problem(list(entries), entries, filled, widths, dtype)


def _entries(path: UVUPath, coupling: Tensor) -> Iterator[tuple[int, int, list]]:
    for entry, column in enumerate(coupling.T.tolist()):
        terms = [(path.y + j, factor) for j, factor in enumerate(column) if factor]
        if terms:
            yield (entry // path.k, entry % path.k, terms)


def tables(problem: Problem, terms: WantedTerms) -> tuple[str, Shape]:
    """The text of problem.h, and how to launch."""
    size = torch.finfo(problem.dtype).bits // 8
    limit = REGISTERS // size // (2 if terms.wanted_y or terms.wanted_w else 1)
    of_z = _parts(problem, lambda p: p.z, lambda p: p.k, limit, STAGED)
    of_x = _parts(problem, lambda p: p.x, lambda p: p.i, limit, None)
    most = max(len(problem.entries[p]) for p in problem.paths)
    most = max(most, *(sum(len(problem.entries[p]) for p in part) for part in of_z))
    most = max(most, min(STAGED, max(sum(len(problem.entries[p]) for p in part) for part in of_x)))
    matrices = size * most * (2 if terms.moved_y else 1)
    if matrices > MOST_SHARED:
        raise Unsupported(f"{most} entries of coupling matrices are more than a block of threads can share")
    lanes, rows, tiles = block_shape(max(p.mul for p in problem.paths), SHARED // matrices)
    edges = max(1, min(8, SHARED // (matrices * rows)))
    wx, wy, ww, wz = problem.widths
    text = f"using T = {CPP_TYPES[problem.dtype]};\n" + constants(
        **{name.upper(): value for name, value in terms._asdict().items()},
        **{"WIDTH_X": wx, "WIDTH_Y": wy, "WIDTH_W": ww, "WIDTH_Z": wz},
        **{"LANES": lanes, "ROWS": rows, "EDGES": edges, "MOST_ENTRIES": most},
    )
    text += _plan("ByReceiver", problem, [[part] for part in of_z], lambda p: p.z, lambda p: p.k)
    text += _plan("BySender", problem, [_groups(problem, part) for part in of_x], lambda p: p.x, lambda p: p.i)
    text += _blocks("BlocksOfX", {(p.x, p.mul, p.i) for p in problem.paths})
    text += _blocks("BlocksOfZ", {(p.z, p.mul, p.k) for p in problem.paths})
    return text, Shape(lanes, rows, tiles, len(of_z), len(of_x))


def _blocks(name: str, blocks: set) -> str:
    rows = table("static constexpr Block", "BLOCK", sorted(blocks))
    return f"struct {name} {{\nstatic {constants(COUNT=len(blocks))}{rows}}};\n"


def _parts(problem: Problem, block: Callable, size: Callable, limit: int, staged: int | None) -> list[list[UVUPath]]:
    """Paths by block of z or x; blocks of as many channels share a part while sums and entries stay within limits."""
    blocks: dict[int, list[UVUPath]] = {}
    for p in sorted(problem.paths, key=lambda p: (-p.mul, block(p), p.x)):
        blocks.setdefault(block(p), []).append(p)
    parts: list[list[UVUPath]] = []
    sums = entries = 0
    for paths in blocks.values():
        more, own = size(paths[0]), sum(len(problem.entries[p]) for p in paths)
        full = sums + more > limit or (staged is not None and entries + own > staged)
        if not parts or full or parts[-1][0].mul != paths[0].mul:
            parts.append([])
            sums = entries = 0
        parts[-1] += paths
        sums, entries = sums + more, entries + own
    return parts


def _groups(problem: Problem, part: list[UVUPath]) -> list[list[UVUPath]]:
    """The paths of a part in portions whose entries of M a block can hold."""
    groups: list[list[UVUPath]] = [[]]
    for p in part:
        if groups[-1] and sum(len(problem.entries[q]) for q in (*groups[-1], p)) > STAGED:
            groups.append([])
        groups[-1].append(p)
    return groups


def _plan(name: str, problem: Problem, parts: list[list[list[UVUPath]]], block: Callable, size: Callable) -> str:
    """A struct of all tables: parts of groups of paths with entries of terms, and the terms for threads to share."""
    of_parts, of_groups, of_paths, of_entries, terms = [], [], [], [], []
    for part in parts:
        places: dict[int, int] = {}
        total, first_group = 0, len(of_groups)
        for group in part:
            first_path = len(of_paths)
            for p in group:
                if block(p) not in places:
                    places[block(p)], total = total, total + size(p)
                first_entry = len(of_entries)
                for i, k, own in problem.entries[p]:
                    of_entries.append((i, k, len(terms), len(terms) + len(own)))
                    terms += own
                last_entry = first_entry + problem.filled[p]
                of_paths.append((p.x, p.w, p.z, p.mul, p.i, p.k, first_entry, last_entry, places[block(p)]))
            of_groups.append((first_path, len(of_paths)))
        of_parts.append((first_group, len(of_groups), part[0][0].mul, total))
    columns, factors = ([term[n] for term in terms] for n in range(2))
    starts = [entry[2] for entry in of_entries] + [len(terms)]
    shared = {"starts": ("int", starts), "columns": ("int", columns), "factors": ("T", factors)}
    text = "".join(table(f"EQUITENSOR_TABLE {kind}", f"{name}_{what}", rows) for what, (kind, rows) in shared.items())
    text += f"struct {name} {{\n" + constants(PARTS=len(of_parts)).replace("constexpr", "static constexpr")
    for kind, rows in (("Path", of_paths), ("Part", of_parts), ("Group", of_groups), ("Entry", of_entries)):
        text += table(f"static constexpr {kind}", kind.upper(), rows)
    text += table("static constexpr int", "COLUMN", columns) + table("static constexpr T", "FACTOR", factors)
    for what, (kind, _) in shared.items():
        text += f"static EQUITENSOR_DEVICE const {kind}* {what}() {{ return {name}_{what}; }}\n"
    return text + "};\n"
