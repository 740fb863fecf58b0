"""A sparse tensor, laid out as `channel_product.sort_entries` does, as constants of C++."""

from __future__ import annotations

import itertools

from torch import Tensor

from equitensor.ops.cuda.source import Unsupported, table

MOST_ENTRIES = 8192  # code for more takes minutes to compile


def product_table(name: str, index: Tensor, coefficients: Tensor, size: int, slot: int) -> str:
    """A struct with the entries that lead to one slot: RESULT ranges of GROUPs of COLUMN and FACTOR.

    index (3, 4, t) and coefficients (3, t) on the CPU; size: of the slot. A group has one result, first operand and
    path.
    """
    rows = index[slot].T.tolist()
    if len(rows) > MOST_ENTRIES:
        raise Unsupported(f"the tensor has {len(rows)} entries, kernels take {MOST_ENTRIES}")
    groups: list[tuple] = []
    results: dict[int, list[int]] = {}
    places = itertools.groupby(range(len(rows)), key=lambda place: (rows[place][0], rows[place][1], rows[place][3]))
    for (result, first, path), own in places:
        entries = list(own)
        results.setdefault(result, []).append(len(groups))
        groups.append((first, entries[0], entries[-1] + 1, path))
    ranges = [(terms[0], terms[-1] + 1) if (terms := results.get(k)) else (0, 0) for k in range(size)]
    text = table("static constexpr Range", "RESULT", ranges) + table("static constexpr Group", "GROUP", groups)
    text += table("static constexpr int", "COLUMN", [row[2] for row in rows])
    return f"struct {name} {{\n{text}{table('static constexpr T', 'FACTOR', coefficients[slot].tolist())}}};\n"
