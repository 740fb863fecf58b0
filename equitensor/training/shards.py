"""A batch over several CPU threads: each takes some of its structures through the whole model and back.

On arrays of a few thousand edges the threads within one operation mostly wait for each other, and all of them for the
slowest; and threads of one Python wait for its lock. Processes that share nothing but the weights meet once a step: the
loss is a sum over labels, and the numbers that it is divided by are known beforehand.
"""

import logging
import os
import pickle
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from equitensor.graph import AtomicGraph
from equitensor.graph.labels import further
from equitensor.training.batches import BatchLimits
from equitensor.training.loss import Terms, label_counts, loss, residuals
from equitensor.training.shard_process import give_back, taken
from equitensor.training.shard_server import mapped, views

log = logging.getLogger(__name__)


class Shards:
    """`count` shards of each batch side by side, on `threads` threads in all, under one model or its average.

    Within `with shards:` each shard but the last has a process of its own, and this process, too, has only its share of
    the threads: more of them would wait for cores that the others are on. Outside, and where a model cannot be given to
    another process, shards follow one another in this process, on all threads.
    """

    def __init__(self, count: int, threads: int, model: nn.Module) -> None:
        self.count, self.threads, self.own = count, threads, max(1, threads // count)
        self.model, self.parameters = model, [p for p in model.parameters() if p.requires_grad]
        self.processes = []

    def __enter__(self) -> "Shards":
        if self.count > 1:
            self.processes, ready = taken(self.count - 1), False
            try:
                ready = self._prepare()
            finally:
                if not ready:
                    self._leave()
        return self

    def __exit__(self, *_) -> None:
        self._leave()

    def _leave(self) -> None:
        give_back(self.processes)
        self.processes = []
        torch.set_num_threads(self.threads)

    def _prepare(self) -> bool:
        """Give the model to all processes; whether they can take it."""
        parameters, rows = list(self.model.parameters()), self.count
        size = rows * sum(p.numel() for p in parameters)
        path = _file_of(size * parameters[0].element_size())
        try:
            flat = mapped(path, size, parameters[0].dtype).view(rows, -1)
            for row, process in enumerate(self.processes, 1):
                process.ask("prepare", self.model, further(), self.own, path, row, rows)
            for process in self.processes:
                process.answer()
        except (pickle.PicklingError, AttributeError, ImportError, TypeError) as error:
            log.warning("shards of a batch follow one another, as the model has no copy in another process: %s", error)
            return False
        finally:
            os.unlink(path)
        self.weights = flat[0]
        self.gradients = [
            [view for p, view in zip(parameters, views(row, parameters), strict=True) if p.requires_grad]
            for row in flat[1:]
        ]
        torch.set_num_threads(self.own)
        return True

    def residuals(self, model: nn.Module, graphs: list[AtomicGraph], **options) -> dict[str, Tensor]:
        """Those of all shards together under `model(graph, **options)`; the model is that of this object or its
        average, in evaluation mode."""
        return joined([errors for errors, _ in self._each(model, graphs, options, None)])

    def backward(
        self, graphs: list[AtomicGraph], terms: Terms, meanwhile: Callable | None = None, **options
    ) -> tuple[dict[str, Tensor], float]:
        """Residuals of all shards together and the loss; its gradients are added to those of the parameters.

        `meanwhile` is called where the other processes are not done yet.
        """
        parts = self._each(self.model, graphs, options, terms, meanwhile)
        return joined([errors for errors, _ in parts]), sum(value for _, value in parts)

    def _each(self, model, graphs, options, terms, meanwhile=None) -> list[tuple[dict[str, Tensor], float]]:
        if not self.processes or len(graphs) == 1:
            before = torch.get_num_threads()
            torch.set_num_threads(self.threads)  # nothing else runs beside
            try:
                return [self._here(model, graph, options, terms) for graph in graphs]
            finally:
                torch.set_num_threads(before)
        torch.cat([p.detach().flatten() for p in model.parameters()], out=self.weights)
        *others, own = graphs
        for process, graph in zip(self.processes, others, strict=False):
            process.ask("residuals", graph.arrays(), options, terms)
        parts = [self._here(model, own, options, terms)]
        if meanwhile is not None:
            meanwhile()
        for process, gradients in zip(self.processes[: len(others)], self.gradients, strict=False):
            errors, value, present = process.answer()
            self._add(gradients, present)
            parts.append(({name: torch.from_numpy(rows) for name, rows in errors.items()}, value))
        return parts

    def _here(self, model, graph, options, terms) -> tuple[dict[str, Tensor], float]:
        errors = residuals(model(graph, **options), graph)
        value = 0.0 if terms is None else loss(errors, *terms)
        if isinstance(value, Tensor):  # there are labels that count
            value.backward(inputs=self.parameters)  # not by positions, of which forces are made
            value = value.detach()
        return {name: rows.detach() for name, rows in errors.items()}, float(value)

    def _add(self, gradients: list[Tensor], present: list[bool]) -> None:
        """Gradients of another process as if they were of this one, through the hooks of parameters that have some."""
        sums, terms = [], []
        for parameter, gradient, here in zip(self.parameters, gradients, present, strict=True):
            if not here:
                continue
            for hook in (parameter._backward_hooks or {}).values():
                changed = hook(gradient)
                gradient = gradient if changed is None else changed
            if parameter.grad is None:
                parameter.grad = gradient.clone()
            else:
                sums.append(parameter.grad)
                terms.append(gradient)
        if sums:
            torch._foreach_add_(sums, terms)

    def peak_memory(self) -> float:
        """Largest resident memory of the other processes so far, in MB."""
        for process in self.processes:
            process.ask("peak_memory")
        return sum(process.answer() for process in self.processes)


def _file_of(size: int) -> str:
    """A file of so many bytes, in memory where there is room for it; written, so that none of it is missing later."""
    try:
        return _written("/dev/shm", size)
    except OSError:
        return _written(tempfile.gettempdir(), size)


def _written(folder: str, size: int) -> str:
    with tempfile.NamedTemporaryFile(prefix="equitensor-", dir=folder, delete=False) as file:
        file.write(bytes(size))
    return file.name


class Part(NamedTuple):
    """A batch in shards, the smallest last, and how many labels of each kind count in it."""

    graphs: list[AtomicGraph]
    counts: list[int]


def split(graphs: list[AtomicGraph], count: int) -> Part:
    """Structures dealt out by their edges, the largest first, and batched: at most `count` graphs."""
    shards, edges = [[] for _ in range(count)], [0] * count
    for graph in sorted(graphs, key=lambda graph: -graph.num_edges) if count > 1 else graphs:
        least = edges.index(min(edges))
        shards[least].append(graph)
        edges[least] += graph.num_edges + 1
    order = sorted(range(count), key=lambda k: -edges[k])
    joined = [AtomicGraph.collate(shards[k]) for k in order if shards[k]]
    return Part(joined, label_counts(joined))


def in_parts(graphs: list[AtomicGraph], limits: BatchLimits, count: int) -> list[Part]:
    """Structures in parts within the limits of a batch."""
    return [split(part, count) for part in limits.parts(graphs)]


def joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The residuals of several shards as those of one batch."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
