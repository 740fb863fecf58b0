"""How a kernel is compared with plain torch: on a small random problem of the shape that it was compiled for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from equitensor.ops.cuda import launches

BOUNDS = {torch.float32: 1e-5, torch.float64: 1e-12}  # of a difference, relative to the largest value
SMALLEST = 1e-2  # least scale of a result: the operands of a proof are of order one


class Proof(NamedTuple):
    """kernel(*problem) is compared with reference(*problem) in float64 on the CPU; problem = small(draw, arguments).

    The small problem must lead to the same source as the arguments do.
    """

    kernel: Callable
    reference: Callable
    small: Callable[[Draw, tuple], tuple]


class Finding(NamedTuple):
    """The largest relative difference and where it was found; why the kernel cannot be used, and why not in graphs."""

    difference: float
    where: str
    refused: str | None
    not_in_graphs: str | None


class Draw:
    """Random numbers of one seed, as tensors of one precision on one device; torch's own generators are left alone."""

    def __init__(self, seed: int, dtype: torch.dtype, device: torch.device) -> None:
        self.generator = torch.Generator("cpu").manual_seed(seed)
        self.dtype, self.device = dtype, device

    def normal(self, *shape: int) -> Tensor:
        drawn = torch.randn(shape, generator=self.generator, dtype=torch.float64, device="cpu")
        return drawn.to(self.device, self.dtype)

    def rows(self, like: Tensor | None, count: int) -> Tensor | None:
        """As `like`, with `count` rows; None for None."""
        return None if like is None else self.normal(count, *like.shape[1:])

    def integers(self, low: int, high: int, count: int) -> Tensor:
        """From low to high - 1."""
        drawn = torch.randint(low, max(high, low + 1), (count,), generator=self.generator, device="cpu")
        return drawn.to(self.device)


def few(channels: int) -> int:
    """So many items that they fill more than one block of threads, the last one not wholly."""
    return 3 + math.ceil(160 / max(1, channels))


def examine(proof: Proof, arguments: tuple, dtype: torch.dtype, device: torch.device) -> Finding:
    """Compare in every way of launching; each has its own values, so that leftovers of an earlier one cannot pass."""
    worst, where = 0.0, ""
    for seed, (way, run) in enumerate(launches.ways(device)):
        try:
            difference, place = _difference(proof, run, proof.small(Draw(seed, dtype, device), arguments), device)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # whatever it is, the user's own call would have met it
            return Finding(math.nan, way, f"fails {way}: {type(error).__name__}: {_first_line(error)}", None)
        if not difference <= worst:
            worst, where = difference, f"{place} {way}"
        if not difference <= BOUNDS[dtype]:
            size = f"differs from plain torch by {difference:.1e} of the largest value (bound {BOUNDS[dtype]:.0e})"
            if not math.isfinite(difference):
                size = "gives values that are not finite"
            return Finding(difference, where, f"{size} in {where}", None)
    return Finding(worst, where, None, _why_not_in_graphs(proof, arguments, dtype, device))


def _why_not_in_graphs(proof: Proof, arguments: tuple, dtype: torch.dtype, device: torch.device) -> str | None:
    if not launches.has_graphs(device):
        return None
    problem = proof.small(Draw(99, dtype, device), arguments)
    try:
        difference, place = _difference(proof, launches.replayed, problem, device)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        return f"fails in the capture of a CUDA graph: {type(error).__name__}: {_first_line(error)}"
    if difference <= BOUNDS[dtype]:
        return None
    return f"differs from plain torch by {difference:.1e} in {place} when a CUDA graph is replayed"


def _difference(proof: Proof, run: Callable, problem: tuple, device: torch.device) -> tuple[float, str]:
    """The largest difference of any result relative to that result's largest value (nan counts most), and which."""
    exact = _together(proof.reference(*map(_exact, problem)))
    results = _together(run(proof.kernel, problem, device))
    if [t.shape for t in results] != [t.shape for t in exact]:
        shapes = [[list(t.shape) for t in tensors] for tensors in (results, exact)]
        raise ValueError(f"results have shapes {shapes[0]}, expected {shapes[1]}")
    worst, place = 0.0, ""
    for n, (ours, theirs) in enumerate(zip(results, exact, strict=True), 1):
        if theirs.numel():
            error = (ours.to("cpu", torch.float64) - theirs).abs().max() / theirs.abs().max().clamp(min=SMALLEST)
            if not float(error) <= worst:
                worst, place = float(error), f"result {n} of {proof.kernel.__name__}"
        if math.isnan(worst):
            break
    return worst, place


def _exact(argument: Any) -> Any:
    if not isinstance(argument, Tensor):
        return argument
    return argument.to("cpu", torch.float64) if argument.is_floating_point() else argument.cpu()


def _together(results: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (results,) if isinstance(results, Tensor) else tuple(results)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0]
