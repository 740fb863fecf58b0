"""Where energy or forces jump along a path, found by halving the intervals that look like it."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

CANDIDATES = 3  # intervals that are halved, of those that look most like a jump


class Point(NamedTuple):
    """Of a path at t: energy (eV), derivative of the energy with respect to t or None, forces (n, 3)."""

    t: float
    energy: float
    derivative: float | None
    forces: np.ndarray


class Jump(NamedTuple):
    """The largest jump found, and at which t."""

    value: float
    t: float


def energy_jump(at: Callable[[float], Point], points: list[Point], least: float, width: float) -> Jump:
    """The largest |E(t+) - E(t-)|; one below `least` need not be found. Intervals are halved down to `width`."""
    rates = np.array([(b.energy - a.energy) / (b.t - a.t) for a, b in pairwise(points)])
    around = _around(rates)  # what the rate is without a jump

    def change(a: Point, b: Point, k: int) -> float:
        if a.derivative is None or b.derivative is None:
            return b.energy - a.energy - (b.t - a.t) * around[k]
        return b.energy - a.energy - (b.t - a.t) * (a.derivative + b.derivative) / 2

    return _largest(at, points, change, least, width)


def force_jump(at: Callable[[float], Point], points: list[Point], least: float, width: float) -> Jump:
    """The largest component of |F(t+) - F(t-)|."""
    rates = np.array([(b.forces - a.forces) / (b.t - a.t) for a, b in pairwise(points)])
    around = _around(rates)

    def change(a: Point, b: Point, k: int) -> np.ndarray:
        return b.forces - a.forces - (b.t - a.t) * around[k]

    return _largest(at, points, change, least, width)


def _around(series: np.ndarray) -> np.ndarray:
    """The mean of both neighbours, at the ends the one neighbour."""
    padded = np.concatenate([series[1:2], series, series[-2:-1]])
    return (padded[:-2] + padded[2:]) / 2


def _largest(at, points, change, least, width) -> Jump:
    """Halve the intervals whose change differs most from their neighbours'."""
    changes = np.array([change(a, b, k) for k, (a, b) in enumerate(pairwise(points))])
    score = abs(changes - _around(changes)).reshape(len(changes), -1).max(axis=1)
    jumps = [Jump(0.0, points[0].t)]
    for k in np.argsort(-score)[:CANDIDATES]:
        if score[k] > least:
            jumps.append(
                _halved(at, points[k], points[k + 1], least, width, lambda a, b, k=k: abs(change(a, b, k)).max())
            )
    return max(jumps)


def _halved(at, a: Point, b: Point, least: float, width: float, change) -> Jump:
    while b.t - a.t > width and change(a, b) > least:
        middle = at((a.t + b.t) / 2)
        a, b = max(((a, middle), (middle, b)), key=lambda pair: change(*pair))
    return Jump(float(change(a, b)), a.t)
