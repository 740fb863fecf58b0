"""The backbone on the compiled operators is the backbone in plain torch."""

import pytest
import torch

from equitensor import models
from equitensor.ops import availability
from equitensor.training.loss import loss, residuals


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-11), (torch.float32, 2e-5)])
@pytest.mark.parametrize("product", ["cg", "gaunt", "cp"])
def test_results_and_their_derivatives_by_weights(product, dtype, tolerance, make_structure, monkeypatch):
    """What one training step is made of, on a molecule and an atom alone."""
    if availability.WHY_NOT:
        pytest.skip(availability.WHY_NOT)
    from equitensor.graph import AtomicGraph

    torch.manual_seed(0)
    settings = {"cutoff": 4.0, "product": product, "channels": 12, "edge_channels": 8}
    model = models.build(settings, (1, 6), {1: -1.0, 6: -2.0}).to(dtype).train()
    pos = torch.randn(7, 3, dtype=torch.float64).numpy() * 1.5
    pos[6] += 20.0
    graph = AtomicGraph.from_structure(make_structure([6, 1, 1, 1, 6, 1, 1], pos), 4.0)
    graph = graph.replace(energy=graph.energy.new_zeros(1), forces=torch.zeros_like(graph.forces))

    def step():
        model.zero_grad()
        prediction = model(graph)
        loss(residuals(prediction, graph), {"forces": 1.0, "energy": 1.0, "stress": 0.0}).backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        return [prediction["energies"].detach(), prediction["forces"].detach(), *gradients]

    compiled = step()
    monkeypatch.setattr(availability, "WHY_NOT", "switched off")
    for ours, plain in zip(compiled, step(), strict=True):
        assert (ours - plain).abs().max() <= tolerance * max(1.0, float(plain.abs().max()))
