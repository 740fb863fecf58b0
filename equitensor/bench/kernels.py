"""The convolution operator against what the machine could do: bytes and operations, threads, edges, degrees, memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from equitensor.bench import e3nn_products
from equitensor.bench.rounds import medians
from equitensor.nn import Convolution

CASES = ((1, 128), (2, 128), (3, 64))  # (lmax, channels)
TASKS = e3nn_products.TASKS
NUMBERS = 1 << 25  # of a float32 array far beyond any cache: 128 MiB
CLEAR_PEAK = Path("/proc/self/clear_refs")


def machine_limits(rounds: int = 5) -> dict[str, float]:
    """GB/s of a copy, what is read and written together, and GFLOP/s of a matrix product, by torch in float32."""
    source, target, matrix = torch.randn(NUMBERS), torch.empty(NUMBERS), torch.randn(1024, 1024)
    times = medians(
        {"copy": lambda: target.copy_(source), "product": lambda: matrix @ matrix}, rounds, time.process_time
    )
    return {
        "copy GB/s": round(8e-6 * NUMBERS / times["copy"], 1),
        "product GFLOP/s": round(2e-6 * 1024**3 / times["product"], 1),
    }


def convolution_limits(edges: int = 20000, rounds: int = 7) -> list[dict]:
    """Rows of case, task, milliseconds, attainable (the larger of bytes / copy and operations / product) and share."""
    limits, rows = machine_limits(), []
    for lmax, channels in CASES:
        layer, edge_index = e3nn_products.uvu_layer(lmax, channels, edges)
        inputs = e3nn_products.uvu_operands(layer, edges)
        call = partial(layer, edge_index=edge_index)
        probe = torch.randn_like(call(*inputs).detach())
        for task, (size, operations) in costs(layer, inputs, probe).items():
            run = partial(TASKS[task], call, inputs, probe)
            time_taken = medians({"ours": run}, rounds, time.process_time)["ours"]
            attainable = max(1e-6 * size / limits["copy GB/s"], 1e-6 * operations / limits["product GFLOP/s"])
            bound = "memory" if 1e-6 * size / limits["copy GB/s"] == attainable else "arithmetic"
            rows.append(
                {
                    "case": f"lmax {lmax}, {channels} channels, {edges} edges",
                    "task": task,
                    "milliseconds": round(time_taken, 2),
                    "attainable": round(attainable, 2),
                    "share": round(attainable / time_taken, 2),
                    "bound": bound,
                }
            )
    return rows


def costs(layer: Convolution, inputs: list[Tensor], probe: Tensor) -> dict[str, tuple[int, int]]:
    """Task -> bytes that must move at least once, and operations of the folded form (twice the multiply-adds)."""
    x, y, w = (4 * t.numel() for t in inputs)
    z, edges = 4 * probe.numel(), len(inputs[1])
    forward, to_x, to_yw = 0, 0, 0
    for first, second, out, *_ in layer.instructions:
        of, by, to = layer.irreps_in[first], layer.irreps_edge[second], layer.irreps_out[out]
        i, j, k, channels = of.ir.dim, by.ir.dim, to.ir.dim, of.mul
        forward += channels * (i + 1 if j == 1 else i * k + i)  # y of degree zero only scales
        to_x += channels * (i * j + i)
        to_yw += channels * (i * j + 2 * j)
    values = (x + y + w + z, 2 * edges * forward)
    gradients = (2 * (x + y + w) + z, 2 * edges * (to_x + to_yw))
    tangents = (3 * (x + y + w) + 2 * z, 4 * edges * (forward + to_x + to_yw))
    by_y, tangents_y = (x + 2 * y + w + z, 2 * edges * to_yw), (2 * (x + y + w) + 2 * z, values[1] + gradients[1])
    tasks = {
        "values": (values,),
        "values + gradients": (values, gradients),
        "force step": (values, gradients, tangents),
        "harmonics step": (values, by_y, tangents_y, gradients),
    }
    return {task: (sum(size for size, _ in parts), sum(count for _, count in parts)) for task, parts in tasks.items()}


def thread_scaling(lmax: int = 2, channels: int = 64, edges: int = 20000, rounds: int = 7) -> dict[str, float]:
    """Time of one thread over that of two, for each task and for torch's own copy and matrix product."""
    before, times = torch.get_num_threads(), []
    calls, inputs = e3nn_products.uvu_candidates(lmax, channels, edges)
    layer = calls["Convolution"]
    probe = torch.randn_like(layer(*inputs).detach())
    source, target, matrix = torch.randn(NUMBERS), torch.empty(NUMBERS), torch.randn(1024, 1024)
    candidates: dict[str, Callable[[], object]] = {t: partial(run, layer, inputs, probe) for t, run in TASKS.items()}
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
    probe, timed = torch.randn(rows, layer.irreps_out.dim), {}
    for task, run in TASKS.items():
        candidates: dict[str, Callable[[], object]] = {
            name: partial(run, call, inputs, probe) for name, call in calls.items()
        }
        timed[task] = {"milliseconds": medians(candidates, rounds, time.process_time)}
        if CLEAR_PEAK.exists():
            timed[task]["peak MiB"] = {name: _peak(call) for name, call in candidates.items()}
    return timed


def _per_edge(lmax: int, channels: int, edges: int) -> float:
    calls, inputs = e3nn_products.uvu_candidates(lmax, channels, edges)
    layer = calls["Convolution"]
    probe = torch.randn_like(layer(*inputs).detach())
    call = partial(e3nn_products.gradients, layer, inputs, probe)
    return round(1e6 * medians({"ours": call}, 3, time.process_time)["ours"] / edges, 1)


def _peak(call: Callable) -> float:
    """MiB that a call takes beyond what is there before."""
    before = _resident("VmRSS")
    CLEAR_PEAK.write_text("5")
    call()
    return round(_resident("VmHWM") - before, 1)


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
