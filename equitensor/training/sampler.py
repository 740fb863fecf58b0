"""Batches in random order, the same on every rank and after a resume."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class BatchSampler(Sampler):
    """Batches of `batch_size` indices, shuffled by (seed, epoch), dealt out to `world_size` ranks.

    The order of an epoch depends on seed and epoch alone, so a run resumed at batch `start` of an epoch sees the
    batches that it would have seen. The last, smaller batch is left out where there are others.
    """

    def __init__(self, length: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.length, self.batch_size, self.seed = length, min(batch_size, length), seed
        self.rank, self.world_size = rank, world_size
        self.epoch = self.start = 0

    def __len__(self) -> int:
        return max(1, self.length // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        for i in range(self.start, len(self)):
            first = (i * self.world_size + self.rank) * self.batch_size
            yield [order[j % self.length] for j in range(first, first + self.batch_size)]
