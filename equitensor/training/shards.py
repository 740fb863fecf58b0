"""A batch over several CPU threads: each takes some of its structures through the whole model and back.

On arrays of a few thousand edges the threads within one operation mostly wait for each other, and all of them for the
slowest; threads that share nothing but the weights meet twice a step.
"""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from equitensor.graph import AtomicGraph
from equitensor.training.batches import BatchLimits
from equitensor.training.loss import residuals


class Shards:
    """`count` shards of each batch side by side, on `threads` threads in all; with one shard, the calling thread.

    Within `with shards:` the calling thread, too, has only its share of threads inside an operation: more of them
    would wait for cores that the shards are on.
    """

    def __init__(self, count: int, threads: int) -> None:
        self.count, self.threads, self.own = count, threads, max(1, threads // count)
        self.pool = None
        if count > 1:
            self.pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(self.own,))

    def __enter__(self) -> "Shards":
        torch.set_num_threads(self.own)
        return self

    def __exit__(self, *_) -> None:
        torch.set_num_threads(self.threads)

    def residuals(self, model, graphs: list[AtomicGraph], **options) -> list[dict[str, Tensor]]:
        """The residuals of each shard under `model(graph, **options)`."""
        return self._each(lambda graph: residuals(model(graph, **options), graph), graphs)

    def backward(self, parts: list[dict[str, Tensor]], gradients: dict[str, Tensor], parameters: list[Tensor]) -> None:
        """Add to the gradients of the parameters, given those of the loss by the joined residuals of all shards."""
        sizes = {name: [len(part[name]) for part in parts] for name in gradients}
        pieces = zip(*(gradient.split(sizes[name]) for name, gradient in gradients.items()), strict=True)
        pairs = [_with_rows(part, gradients, piece) for part, piece in zip(parts, pieces, strict=True)]
        pairs = [pair for pair in pairs if pair[0]]
        found = self._each(lambda pair: torch.autograd.grad(pair[0], parameters, pair[1], allow_unused=True), pairs)
        for parameter, *gradients in zip(parameters, *found, strict=True):
            known = [gradient for gradient in (parameter.grad, *gradients) if gradient is not None]
            parameter.grad = sum(known[1:], known[0]) if known else None

    def _each(self, function, items: list) -> list:
        if self.pool is not None and len(items) > 1:
            return list(self.pool.map(function, items))
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)  # nothing else runs beside
        try:
            return [function(item) for item in items]
        finally:
            torch.set_num_threads(before)


def _with_rows(part, names, gradients):
    """Residuals of a shard and the gradients by them, without those of which it has none."""
    pairs = [(part[name], gradient) for name, gradient in zip(names, gradients, strict=True) if len(gradient)]
    return [residual for residual, _ in pairs], [gradient for _, gradient in pairs]


def split(graphs: list[AtomicGraph], count: int) -> list[AtomicGraph]:
    """Structures dealt out by their edges, the largest first, and batched: at most `count` graphs."""
    shards, edges = [[] for _ in range(count)], [0] * count
    for graph in sorted(graphs, key=lambda graph: -graph.num_edges) if count > 1 else graphs:
        least = edges.index(min(edges))
        shards[least].append(graph)
        edges[least] += graph.num_edges + 1
    return [AtomicGraph.collate(shard) for shard in shards if shard]


def in_parts(graphs: list[AtomicGraph], limits: BatchLimits, count: int) -> list[list[AtomicGraph]]:
    """Structures in parts within the limits of a batch, each in shards."""
    return [split(part, count) for part in limits.parts(graphs)]


def joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The residuals of several shards as those of one batch."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
