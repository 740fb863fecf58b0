"""Edges sorted by one of their nodes, and what is remembered of tensors that do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from equitensor.ops.cuda import launches


class Remembered:
    """make(tensor, *more), kept for as long as the tensor lives and is not written to.

    Not during the capture of a CUDA graph where `captured` is false: the graph must then make it again at each replay.
    """

    def __init__(self, make: Callable[..., Any], captured: bool = True) -> None:
        self.make, self.captured, self.kept = make, captured, WeakIdKeyDictionary()

    def __call__(self, tensor: Tensor, *more) -> Any:
        if tensor.is_inference() or (not self.captured and launches.capturing(tensor.device)):
            return self.make(tensor, *more)
        version, key, table = self.kept.get(tensor, (None, (), None))
        if version != tensor._version or len(key) != len(more) or not all(map(_same, key, more)):
            table = self.make(tensor, *more)
            self.kept[tensor] = (tensor._version, more, table)
        return table


def _same(one, other) -> bool:
    return one is other if isinstance(one, Tensor) else one == other


def _assert_below(index: Tensor, count: int, message: str) -> None:
    if index.numel():
        low, high = index.aminmax()
        torch._assert_async((low >= 0) & (high < count), message)


# Once for each tensor: an index beyond the end would be read there.
assert_below = Remembered(_assert_below, captured=False)


def _sort(index: Tensor, nodes: int, stream: int) -> tuple[Tensor, Tensor]:
    _assert_below(index, nodes, f"an edge joins an atom that is not among the {nodes}")
    nodes_of_edges, order = index.sort(stable=True)
    return order, torch.searchsorted(nodes_of_edges, torch.arange(nodes + 1, device=index.device))


_sorted = Remembered(_sort, captured=False)


def by_node(index: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """(order, start) of index (e,) and a number of nodes: those of node n are order[start[n]] .. order[start[n + 1]].

    Remembered for one stream: another might read it before it is written, or after its memory went to others.
    """
    return _sorted(index, nodes, _stream(index))


def _stream(tensor: Tensor) -> int:
    return torch.cuda.current_stream(tensor.device).cuda_stream if tensor.is_cuda else 0
