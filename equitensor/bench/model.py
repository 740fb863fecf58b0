"""The default model, untrained: a force call and a training step."""

from functools import partial

import torch

from equitensor import models
from equitensor.bench.rounds import medians
from equitensor.bench.structures import STRUCTURES
from equitensor.graph import from_ase

CUTOFF = 5.0


def time_model(dtype=torch.float32, rounds: int = 20) -> dict[str, dict[str, float]]:
    """Case -> milliseconds by product, for energies and forces, and for a training step on ten molecules."""
    batches = {f"forces, {name}": from_ase(build(), CUTOFF) for name, build in STRUCTURES.items()}
    step = from_ase([STRUCTURES["acac"]()] * 10, CUTOFF)
    elements = {1: 0.0, 6: 0.0, 8: 0.0, 14: 0.0}
    built = {product: _model(product, elements).to(dtype) for product in ("gaunt", "cg")}
    timed = {
        case: medians({product: partial(_forces, model, graph) for product, model in built.items()}, rounds)
        for case, graph in batches.items()
    }
    timed["training step, 10 acac"] = medians(
        {product: partial(_step, model, step) for product, model in built.items()}, rounds
    )
    return timed


def _model(product, elements):
    return models.build({"cutoff": CUTOFF, "product": product}, elements, elements)


def _forces(model, graph):
    return model.eval()(graph, stress=False)["forces"]


def _step(model, graph):
    model.train().zero_grad()
    out = model(graph)
    (out["energy"].square().mean() + out["forces"].square().mean()).backward()
