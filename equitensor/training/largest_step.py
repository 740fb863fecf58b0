"""What `equitensor train --check` measures: a step on the largest batches that a run can meet."""

import itertools
import time
from collections.abc import Iterator

import numpy as np
import torch

from equitensor.data import GraphDataset
from equitensor.data.sequence import evenly_spaced
from equitensor.graph import AtomicGraph
from equitensor.training.batches import BatchLimits, size
from equitensor.training.memory import peak_memory
from equitensor.training.progress import Progress
from equitensor.training.sampler import BatchSampler
from equitensor.training.shards import split
from equitensor.training.trainer import Trainer

_VISITED = 1_000_000  # structures whose batches are looked at
_EPOCHS = 200  # at most
_MORE = 100  # structures that are tried
_STILL = 15  # rounds in which the peak does not rise any more
_RISE = 0.002  # of the peak, which counts as none
_SECONDS = 60.0  # of this process, at most


def largest_step(trainer: Trainer) -> dict:
    """Steps on the batches with the most edges and with the most atoms: sizes and seconds of the first, memory.

    Memory that one step frees is seldom of the sizes that the next one asks for, so the peak of a run rises with its
    steps, ever less, by a sixth of what the first ones need. So do these, each behind one on a batch as it comes, until
    the peak stays where it is. Graphs that are kept are there by then, and the state of the optimiser, which the first
    step begins.
    """
    trainer.progress = Progress(started=time.monotonic(), epochs=1)
    parts = _largest_parts(trainer)
    with trainer.shards:
        steps = [_step(trainer, part) for part in parts]
        trainer.build_graphs()
        peak = _settled_peak(trainer, parts)
        trainer.end_readers()
    return steps[0] | {"megabytes": peak}


def _settled_peak(trainer: Trainer, parts: list[list[AtomicGraph]]) -> float:
    """In MB, after rounds of a batch as it comes and these, until the peak rises no more."""
    began, settled, still = time.process_time(), 0.0, 0
    for batch in _epochs(trainer):
        trainer.step(batch)
        for part in parts:
            _step(trainer, part)
        peak, still = _peak(trainer), still + 1
        if peak > settled * (1 + _RISE):
            settled, still = peak, 0
        if still == _STILL or time.process_time() - began > _SECONDS:
            break
    return peak


def _epochs(trainer: Trainer) -> Iterator:
    """The batches of one epoch after the other."""
    for trainer.sampler.epoch in itertools.count():
        yield from trainer.loader


def _peak(trainer: Trainer) -> float:
    if trainer.fabric.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return peak_memory() + trainer.shards.peak_memory()


def _step(trainer: Trainer, part: list[AtomicGraph]) -> dict:
    began = time.monotonic()
    trainer.step([split(part, trainer.shards.count)])
    return {
        "structures": len(part),
        "atoms": sum(map(_atoms, part)),
        "edges": sum(map(_edges, part)),
        "seconds": time.monotonic() - began,
    }


def _largest_parts(trainer: Trainer) -> list[list[AtomicGraph]]:
    """The parts with the most edges and with the most atoms, of the batches with the most of them that the run's first
    epochs take, and of the largest structures alone."""
    dataset, limits = trainer.data.train, trainer.data.batch_limits
    atoms, sizes = dataset.num_atoms, trainer.data.sizes
    chosen = [[int(atoms.argmax())], [int(sizes.argmax())]]
    for batch in _batches(trainer):
        for k, by in enumerate((atoms, sizes)):
            chosen[k] = max(chosen[k], batch, key=lambda each: by[each].sum())
    chosen += [[int(atoms.argmax())], [int(sizes.argmax())]]
    parts = [part for batch in chosen for part in limits.parts(dataset[i] for i in batch)]
    by_edges, by_atoms = (max(parts, key=lambda part: sum(map(count, part))) for count in (_edges, _atoms))
    if not dataset.keeps_graphs:  # sizes are estimates: another batch may be fuller
        by_edges = _topped_up(by_edges, dataset, limits)
    return [by_edges] if by_atoms is by_edges else [by_edges, by_atoms]


def _batches(trainer: Trainer) -> Iterator[list[int]]:
    """Those of the run's first epochs, up to a million structures."""
    count, epochs = len(trainer.data.train), trainer.config.train.max_epochs or _EPOCHS
    sampler = BatchSampler(trainer.data.sizes, trainer.data.batch_limits, trainer.config.seed)
    for sampler.epoch in range(min(epochs, 1 + _VISITED // count)):
        yield from itertools.islice(sampler.batches(), _VISITED)


def _topped_up(part: list[AtomicGraph], dataset: GraphDataset, limits: BatchLimits) -> list[AtomicGraph]:
    """With more structures, as far as some of them fit."""
    for i in evenly_spaced(np.arange(len(dataset)), _MORE):
        graph = dataset[int(i)]
        if limits.fit(len(part) + 1, sum(map(size, part)) + size(graph)):
            part = [*part, graph]
    return part


def _edges(graph: AtomicGraph) -> int:
    return graph.num_edges


def _atoms(graph: AtomicGraph) -> int:
    return graph.num_nodes
