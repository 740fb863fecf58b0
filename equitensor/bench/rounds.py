"""Fair timing on a machine that others use too: all candidates in turn, and the median of each."""

import statistics
import time
from collections.abc import Callable

WARM_UP = 3


def medians(
    candidates: dict[str, Callable[[], object]], rounds: int = 20, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Milliseconds of one call of each candidate: the median over rounds in which all take turns.

    clock: `time.process_time` for what one thread does on a machine that others use too.
    """
    for call in candidates.values():
        for _ in range(WARM_UP):
            call()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            began = clock()
            call()
            times[name].append(1e3 * (clock() - began))
    return {name: statistics.median(values) for name, values in times.items()}
