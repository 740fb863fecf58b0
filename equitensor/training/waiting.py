"""Whether steps wait for their data, and how many processes should read ahead."""

import math
import time
from collections.abc import Iterator

from equitensor.cores import usable_cores

_FIRST, _LAST = 5, 25  # steps that count: the first ones also warm up
_MUCH = 0.05  # of a step


class Ahead:
    """The items of a loader, of which `fetch` takes the next when there is time; `seconds` that the last one took."""

    def __init__(self, loader) -> None:
        self.iterator, self.fetched, self.seconds = iter(loader), [], 0.0

    def fetch(self) -> None:
        if not self.fetched:
            began = time.monotonic()
            self.fetched.append(next(self.iterator, None))
            self.seconds = time.monotonic() - began

    def __iter__(self) -> Iterator:
        while True:
            self.fetch()
            item = self.fetched.pop()
            if item is None:
                return
            yield item


class Waiting:
    """Times of the first steps and of the waits for their data, from which `workers` follows once."""

    def __init__(self) -> None:
        self.steps, self.waited, self.computed = 0, 0.0, 0.0

    def add(self, waited: float, computed: float) -> bool:
        """Seconds of one step; whether this was the last that counts."""
        self.steps += 1
        if _FIRST < self.steps <= _LAST:
            self.waited += waited
            self.computed += computed
        return self.steps == _LAST

    @property
    def share(self) -> float:
        """Of a step's time, what it waits."""
        return self.waited / max(self.waited + self.computed, 1e-9)

    def workers(self, spare: int) -> int:
        """Processes that keep the steps supplied, as far as there are spare cores; 0 where waits are short."""
        if self.share < _MUCH:
            return 0
        return min(max(spare, 0), 1 + math.ceil(self.waited / max(self.computed, 1e-9)))


def spare_cores(busy: int, ranks_here: int) -> int:
    """Cores that this process may use and its `busy` threads do not, shared with the other ranks on this machine."""
    return usable_cores() // ranks_here - busy
