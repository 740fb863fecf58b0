"""What `equitensor train --check` measures: one step on the largest batch that a run can meet."""

import time

import torch

from equitensor.training.memory import peak_memory
from equitensor.training.progress import Progress
from equitensor.training.trainer import Trainer


def largest_step(trainer: Trainer) -> dict:
    """One step on the largest structures that a batch can hold: sizes, seconds and memory."""
    dataset, device = trainer.data.train, trainer.fabric.device
    order = dataset.num_atoms.argsort()[::-1][: trainer.sampler.batch_size]
    graphs = [graph.to(device) for graph in trainer.collate([dataset[int(i)] for i in order])]
    trainer.progress = Progress(started=time.monotonic(), total_steps=1)
    began = time.monotonic()
    trainer.step(graphs)
    taken = time.monotonic() - began
    peak = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else peak_memory()
    return {
        "structures": sum(graph.num_graphs for graph in graphs),
        "atoms": sum(graph.num_nodes for graph in graphs),
        "edges": sum(graph.num_edges for graph in graphs),
        "seconds": taken,
        "megabytes": peak,
    }
