"""How many threads take how many channels and items."""

from __future__ import annotations

import math

THREADS, WARP, MOST_ROWS = 128, 32, 16


def block_shape(channels: int, most_rows: int = MOST_ROWS) -> tuple[int, int, int]:
    """Lanes for channels, rows for items, tiles of channels; a block is made of whole warps, at most 128 threads."""
    tiles = math.ceil(channels / THREADS)
    each = math.ceil(channels / tiles)
    lanes = WARP * math.ceil(each / WARP) if each > WARP // 2 else 1 << (each - 1).bit_length()
    rows = max(1, min(THREADS // lanes, most_rows, MOST_ROWS))
    rows = 1 << (rows.bit_length() - 1)
    return max(lanes, WARP // rows), rows, tiles
