"""Batches in random order and of about equal work, the same on every rank and after a resume."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count, islice

import numpy as np
import torch
from torch.utils.data import Sampler

from equitensor.training.batches import BatchLimits

_OPEN = 4  # batches that are filled side by side
_PIECE = 100_000  # structures whose numbers are Python's at a time


class BatchSampler(Sampler):
    """For each step the structures of this rank, out of batches within `limits` that are filled in random order.

    A step takes `together` batches, dealt out to `world_size` ranks; a rank without one has no structures in it. The
    batches of an epoch depend on seed and epoch alone, so a run that is resumed at step `start` of an epoch, on any
    number of ranks, takes the steps that it would have taken. Batches that are not full, or with edges as limit not
    half full, and a number of batches too small for a step, are left out at the end where there are others.
    `passed` holds the share of the epoch at the end of each step handed out, 1 with the last, for the loop to take.
    """

    def __init__(
        self, sizes: np.ndarray, limits: BatchLimits, seed: int, together: int = 1, rank: int = 0, world_size: int = 1
    ) -> None:
        self.sizes, self.limits, self.seed, self.together = sizes, limits, seed, together
        self.rank, self.world_size = rank, world_size
        self.epoch = self.start = 0
        self.passed: deque[float] = deque()

    def __iter__(self) -> Iterator[list[int]]:
        self.passed.clear()
        taken = 0
        steps = self._steps()
        batches = next(steps)
        for number in count():
            following = next(steps, None)
            taken += sum(map(len, batches))
            if number >= self.start:
                self.passed.append(1.0 if following is None else taken / len(self.sizes))
                yield [i for batch in batches[self.rank :: self.world_size] for i in batch]
            if following is None:
                return
            batches = following

    def _steps(self) -> Iterator[list[list[int]]]:
        batches, number = self.batches(), 0
        while step := list(islice(batches, self.together)):
            if len(step) == self.together or number == 0:
                yield step
            number += 1

    def batches(self) -> Iterator[list[int]]:
        """Those of this epoch, for all ranks."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.sizes), generator=generator)
        yield from filled((i for piece in order.split(_PIECE) for i in piece.tolist()), self.sizes, self.limits)


def filled(order: Iterable[int], sizes: np.ndarray, limits: BatchLimits) -> Iterator[list[int]]:
    """Batches of indices as they fill: each structure goes to the first of a few open ones that it fits into.

    So large and small ones share a batch as they come; nothing is sorted by size.
    """
    smallest, begun, any_full = int(sizes.min()), [], False
    for i in order:
        size = int(sizes[i])
        batch = next((each for each in begun if each.fits(size, limits)), None)
        if batch is None:
            batch = _Batch()
            begun.append(batch)
        batch.add(i, size)
        if batch.fits(smallest, limits):
            if len(begun) <= _OPEN:
                continue
            batch = max(begun, key=lambda each: each.edges)
        begun.remove(batch)
        any_full = True
        yield batch.indices
    for batch in sorted(begun, key=lambda each: -each.edges):
        if not any_full or (limits.edges is not None and 2 * batch.edges >= limits.edges):
            any_full = True
            yield batch.indices


class _Batch:
    def __init__(self) -> None:
        self.indices, self.edges = [], 0

    def fits(self, size: int, limits: BatchLimits) -> bool:
        return limits.fit(len(self.indices) + 1, self.edges + size)

    def add(self, i: int, size: int) -> None:
        self.indices.append(i)
        self.edges += size
