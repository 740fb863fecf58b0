"""The ways in which a kernel may be launched, for a proof to go through: streams, devices, CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable

import torch


def ways(device: torch.device) -> list[tuple[str, Callable]]:
    """(words, run(kernel, problem, device)) in the order in which they are tried."""
    if device.type != "cuda":
        return [("at once", at_once)]
    launches = [("on the current stream", at_once), ("on a stream of its own", on_side_stream)]
    if torch.cuda.device_count() > 1:
        launches.append(("from another device", from_another_device))
    return launches


def at_once(kernel: Callable, problem: tuple, device: torch.device):
    return kernel(*problem)


def on_side_stream(kernel: Callable, problem: tuple, device: torch.device):
    side, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        results = kernel(*problem)
    side.synchronize()  # the results' memory belongs to it
    return results


def from_another_device(kernel: Callable, problem: tuple, device: torch.device):
    with torch.cuda.device((device.index + 1) % torch.cuda.device_count()):
        return kernel(*problem)


def has_graphs(device: torch.device) -> bool:
    return device.type == "cuda"


def replayed(kernel: Callable, problem: tuple, device: torch.device):
    """What a CUDA graph of the call leaves when it is replayed; the capture itself computes nothing."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
    # The outer stream context restores the current stream where the capture fails, which torch's own then does not.
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            results = kernel(*problem)
        graph.replay()
        torch.cuda.synchronize(device)
    return results.clone() if torch.is_tensor(results) else tuple(t.clone() for t in results)


def capturing(device: torch.device) -> bool:
    """Whether a CUDA graph is captured on the device's current stream."""
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()


def settle(device: torch.device) -> None:
    """Wait for all that was launched: raises the error of what failed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
