"""The convolution operator against what the machine could do: bytes and operations, threads, edges, degrees, memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from equitensor.bench import e3nn_products
from equitensor.bench.rounds import medians

CASES = ((1, 128), (2, 128), (3, 64))  # (lmax, channels)
TASKS = {
    "values": e3nn_products.values,
    "values + gradients": e3nn_products.gradients,
    "force step": e3nn_products.force_step,
}
NUMBERS = 1 << 25  # of a float32 array far beyond any cache: 128 MiB
CLEAR_PEAK = Path("/proc/self/clear_refs")


def machine_limits(rounds: int = 5) -> dict[str, float]:
    """GB/s of a copy, what is read and written together, and GFLOP/s of a matrix product, by torch in float32."""
    source, target, matrix = torch.randn(NUMBERS), torch.empty(NUMBERS), torch.randn(1024, 1024)
    times = medians({"copy": lambda: target.copy_(source), "product": lambda: matrix @ matrix}, rounds)
    return {
        "copy GB/s": round(8e-6 * NUMBERS / times["copy"], 1),
        "product GFLOP/s": round(2e-6 * 1024**3 / times["product"], 1),
    }


def convolution_limits(edges: int = 20000, rounds: int = 7) -> list[dict]:
    """Rows of case, task, milliseconds, attainable (the larger of bytes / copy and operations / product) and share."""
    limits, rows = machine_limits(), []
    for lmax, channels in CASES:
        calls, inputs = e3nn_products.uvu_candidates(lmax, channels, edges)
        layer = calls["Convolution"]
        probe = torch.randn_like(layer(*inputs).detach())
        for task, (size, operations) in costs(lmax, channels, edges, inputs, probe).items():
            run = TASKS[task]
            time = medians({"ours": partial(run, layer, inputs, probe)}, rounds)["ours"]
            attainable = max(1e-6 * size / limits["copy GB/s"], 1e-6 * operations / limits["product GFLOP/s"])
            bound = "memory" if 1e-6 * size / limits["copy GB/s"] == attainable else "arithmetic"
            rows.append(
                {
                    "case": f"lmax {lmax}, {channels} channels, {edges} edges",
                    "task": task,
                    "milliseconds": round(time, 2),
                    "attainable": round(attainable, 2),
                    "share": round(attainable / time, 2),
                    "bound": bound,
                }
            )
    return rows


def costs(lmax: int, channels: int, edges: int, inputs: list[Tensor], probe: Tensor) -> dict[str, tuple[int, int]]:
    """Task -> bytes that must move at least once, and operations of the folded form (twice the multiply-adds)."""
    x, y, w = (4 * t.numel() for t in inputs)
    z = 4 * probe.numel()
    forward, backward = 0, 0
    for l1, l2, l3 in natural_paths(lmax):
        i, j, k = 2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1
        forward += i * k + i
        backward += 2 * i * j + 2 * j + i
    values = (x + y + w + z, 2 * edges * channels * forward)
    gradients = (2 * (x + y + w) + z, 2 * edges * channels * backward)
    tangents = (3 * (x + y + w) + 2 * z, 4 * edges * channels * (forward + backward))
    both = tuple(map(sum, zip(values, gradients, strict=True)))
    return {
        "values": values,
        "values + gradients": both,
        "force step": tuple(map(sum, zip(both, tangents, strict=True))),
    }


def natural_paths(lmax: int) -> list[tuple[int, int, int]]:
    """Degrees of the paths between true signals: even sums within the triangle."""
    degrees = range(lmax + 1)
    triples = ((a, b, c) for a in degrees for b in degrees for c in range(abs(a - b), min(lmax, a + b) + 1))
    return [triple for triple in triples if sum(triple) % 2 == 0]


def thread_scaling(lmax: int = 2, channels: int = 64, edges: int = 20000, rounds: int = 7) -> dict[str, float]:
    """Time of one thread over that of two, for each task and for torch's own copy and matrix product."""
    before, times = torch.get_num_threads(), []
    calls, inputs = e3nn_products.uvu_candidates(lmax, channels, edges)
    layer = calls["Convolution"]
    probe = torch.randn_like(layer(*inputs).detach())
    source, target, matrix = torch.randn(NUMBERS), torch.empty(NUMBERS), torch.randn(1024, 1024)
    candidates = {task: partial(run, layer, inputs, probe) for task, run in TASKS.items()}
    candidates |= {"copy": lambda: target.copy_(source), "matrix product": lambda: matrix @ matrix}
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            times.append(medians(candidates, rounds))
    finally:
        torch.set_num_threads(before)
    return {name: round(times[0][name] / times[1][name], 2) for name in candidates}


def by_edges(counts: tuple[int, ...] = (1000, 10000, 100000, 1000000), lmax: int = 1, channels: int = 16) -> dict:
    """Edges -> nanoseconds an edge, values and gradients: the same for any number where time is linear in edges."""
    return {count: _per_edge(lmax, channels, count) for count in counts}


def by_degree(degrees: tuple[int, ...] = (1, 2, 3, 4, 5, 6), channels: int = 64, edges: int = 4000) -> dict:
    """lmax -> nanoseconds an edge, values and gradients."""
    return {lmax: _per_edge(lmax, channels, edges) for lmax in degrees}


def peak_memory(lmax: int = 2, channels: int = 128, edges: int = 20000) -> dict[str, float] | None:
    """MiB that values and gradients take beyond their operands, ours and e3nn's; None where Linux is not."""
    if not CLEAR_PEAK.exists():
        return None
    calls, inputs = e3nn_products.uvu_candidates(lmax, channels, edges)
    probe = torch.randn_like(calls["Convolution"](*inputs).detach())
    return {
        name: _peak(partial(e3nn_products.gradients, calls[name], inputs, probe)) for name in ("Convolution", "e3nn")
    }


def radial_layer(lmax: int = 2, channels: int = 128, edges: int = 20000, hidden: int = 64, rounds: int = 5) -> dict:
    """Task -> milliseconds, and MiB beyond the operands (where Linux is), of a convolution with the weights h M.

    "fused" makes the weights inside, a chunk of edges at a time; "unfused" gives them as a tensor. `hidden`: the
    features h of an edge, 64 in MACE.
    """
    layer, edge_index = e3nn_products.uvu_layer(lmax, channels, edges)
    rows = edges // e3nn_products.NEIGHBORS
    shapes = ((rows, layer.irreps_in.dim), (edges, layer.irreps_edge.dim), (edges, hidden))
    inputs = e3nn_products.operands((*shapes, (hidden, layer.weight_numel)))
    calls = {
        "fused": lambda x, y, h, m: layer.forward_radial(x, y, h, m, edge_index),
        "unfused": lambda x, y, h, m: layer(x, y, h @ m, edge_index),
    }
    probe, found = torch.randn(rows, layer.irreps_out.dim), {}
    for task, run in TASKS.items():
        candidates = {name: partial(run, call, inputs, probe) for name, call in calls.items()}
        found[task] = {"milliseconds": medians(candidates, rounds)}
        if CLEAR_PEAK.exists():
            found[task]["peak MiB"] = {name: _peak(call) for name, call in candidates.items()}
    return found


def _per_edge(lmax: int, channels: int, edges: int) -> float:
    calls, inputs = e3nn_products.uvu_candidates(lmax, channels, edges)
    layer = calls["Convolution"]
    probe = torch.randn_like(layer(*inputs).detach())
    time = medians({"ours": partial(e3nn_products.gradients, layer, inputs, probe)}, 3)["ours"]
    return round(1e6 * time / edges, 1)


def _peak(call: Callable) -> float:
    """MiB that a call takes beyond what is there before."""
    before = _resident("VmRSS")
    CLEAR_PEAK.write_text("5")
    call()
    return round(_resident("VmHWM") - before, 1)


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
