"""torch.inference_mode around a model changes no number, and leaves nothing behind that training cannot use."""

import pytest
import torch

from equitensor import models
from equitensor.graph import AtomicGraph
from equitensor.o3.quadrature import _nodes
from equitensor.o3.symmetric_coupling import _chains
from equitensor.o3.wigner import _wigner_3j
from equitensor.training.loss import loss, residuals

SETTINGS = {"cutoff": 4.0, "channels": 4, "lmax": 2, "layers": 2}


def graph_of(structure):
    return AtomicGraph.from_structure(structure, 4.0)


@pytest.mark.parametrize("product", ["cg", "gaunt", "cp"])
def test_results_under_inference_mode_are_the_same(fresh_model, crystal, product):
    model = fresh_model(product=product)
    expected = model(graph_of(crystal))
    with torch.inference_mode():
        inside = model(graph_of(crystal))
        features = model.descriptors(graph_of(crystal))
        shared = graph_of(crystal)
    outside = model(shared)  # a graph made inside, such as one that a data set keeps
    for name, value in expected.items():
        assert torch.equal(inside[name], value), name
        assert torch.equal(outside[name], value), name
    assert torch.equal(features, model.descriptors(graph_of(crystal)))


def test_a_model_that_was_made_inside_trains_afterwards(crystal):
    with torch.inference_mode():
        model = models.build(SETTINGS, (1, 6, 8), {1: 0.0, 6: 0.0, 8: 0.0}).train()
        graph = graph_of(crystal)
        graph = graph.replace(energy=torch.zeros_like(graph.energy), forces=torch.zeros_like(graph.forces))
        model(graph)
    loss(residuals(model(graph), graph.outside_inference()), {"forces": 1.0, "energy": 1.0, "stress": 0.0}).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    "table, arguments",
    [
        (_wigner_3j, (1, 2, 3)),
        (_nodes, (4,)),
        (_chains, ((1, 1), 2)),
    ],
)
def test_tables_that_are_kept_serve_outside(table, arguments):
    table.cache_clear()
    with torch.inference_mode():
        tables = table(*arguments)
    tensors = [tables] if torch.is_tensor(tables) else tables
    assert not any(tensor.is_inference() for tensor in tensors)
    table.cache_clear()
