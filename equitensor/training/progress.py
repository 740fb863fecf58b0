"""How far a run has come, by the clock or by epochs, and what follows from that: learning rate and loss weights."""

import math
import time
from dataclasses import dataclass


@dataclass
class Progress:
    """The state of a run's schedule.

    A run ends after `epochs` or when `max_seconds` less `reserve` (for the final evaluation) have passed since
    `started` (time.monotonic()), whichever is first; `spent` are the seconds of the parts before a resume.
    """

    started: float
    epochs: float = math.inf
    max_seconds: float = math.inf
    reserve: float = 0.0
    spent: float = 0.0
    step: int = 0
    epoch: int = 0
    passed: float = 0.0  # of the epoch

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, start-up included, pauses between a stop and its resume not."""
        return self.spent + time.monotonic() - self.started

    @property
    def fraction(self) -> float:
        """0 at the start, 1 at the end."""
        by_time = self.elapsed / max(self.max_seconds - self.reserve, 1e-9)
        return min(1.0, max((self.epoch + self.passed) / self.epochs, by_time))


def lr_factor(fraction: float, constant: float) -> float:
    """1 for the first part of the run, then half a cosine to 0."""
    if fraction <= constant:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (fraction - constant) / (1 - constant)))
