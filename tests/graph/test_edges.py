"""Neighbour lists that others made: sorted, or refused."""

import numpy as np
import pytest
import torch

from equitensor import models
from equitensor.errors import InputError
from equitensor.graph import AtomicGraph, Structure

CUTOFF = 4.0
CELL = np.array([[3.1, 0.2, -0.4], [0.7, 3.4, 0.3], [-0.2, 0.9, 2.9]])


@pytest.fixture(scope="module")
def model():
    settings = {"cutoff": CUTOFF, "channels": 4, "lmax": 2, "layers": 2}
    return models.build(settings, (6, 8), {6: -1.0, 8: -2.0}).double().eval()


@pytest.fixture(scope="module")
def graph():
    """A crystal whose atoms meet their own images."""
    pos = np.array([[0.05, 0.02, 0.0], [0.42, 0.51, 0.08], [0.55, 0.03, 0.52]]) @ CELL
    return AtomicGraph.from_structure(Structure(np.array([6, 8, 6]), pos, CELL, np.full(3, True)), CUTOFF)


def shuffled(graph, seed=0):
    order = torch.randperm(graph.num_edges, generator=torch.Generator().manual_seed(seed))
    return graph.edge_index[:, order], graph.shift[order], torch.argsort(order)[graph.rev[order]]


def test_a_list_in_any_order_gives_the_same_graph(graph, model):
    edge_index, shift, _ = shuffled(graph)
    again = AtomicGraph.from_edges(graph.z, graph.pos, edge_index, shift, CELL, [True] * 3)
    for name in ("z", "pos", "batch", "edge_index", "shift", "rev", "cell", "pbc"):
        assert getattr(again, name).equal(getattr(graph, name)), name
        assert getattr(again, name).dtype == getattr(graph, name).dtype, name
    assert torch.equal(model(again)["energy"], model(graph)["energy"])
    arrays = (a.numpy() for a in (graph.z, graph.pos, edge_index.int(), shift.float()))
    assert AtomicGraph.from_edges(*arrays, CELL, True).edge_index.equal(graph.edge_index)


def test_a_molecule_needs_neither_shifts_nor_cell(model):
    pos = np.array([[0, 0, 0], [1.2, 0, 0], [0, 1.3, 0.2]])
    expected = AtomicGraph.from_structure(Structure(np.array([6, 8, 8]), pos, np.zeros((3, 3)), np.full(3, False)), 4.0)
    graph = AtomicGraph.from_edges([6, 8, 8], pos, [[2, 0, 1, 2, 1, 0], [1, 1, 0, 0, 2, 2]])
    assert graph.edge_index.equal(expected.edge_index)
    assert graph.rev.equal(expected.rev)
    assert torch.equal(model(graph)["forces"], model(expected)["forces"])


def test_edges_out_of_order_are_refused_and_not_computed(graph):
    edge_index, shift, rev = shuffled(graph)
    with pytest.raises(InputError, match=r"not sorted by receiver.*from_edges"):
        graph.replace(edge_index=edge_index, shift=shift, rev=rev)
    for wrong in (graph.rev.roll(1), graph.rev[:-1], graph.rev - graph.num_edges):
        with pytest.raises(InputError, match=r"rev does not name"):
            graph.replace(rev=wrong)
    with pytest.raises(InputError, match=r"rev does not name"):
        AtomicGraph(
            graph.z, graph.pos, graph.batch, graph.edge_index, -graph.shift.abs(), graph.rev, graph.cell, graph.pbc
        )


@pytest.mark.parametrize(
    "edges, message",
    [
        ([[0], [1]], r"from atom 0 to atom 1 .* no reverse: give a full list"),
        ([[0, 1, 0], [1, 0, 1]], "listed twice"),
        ([[0, 1, 1], [1, 0, 1]], "to itself"),
        ([[0, 2], [2, 0]], "names atoms 0 to 2: there are 2"),
        ([[0, -1], [-1, 0]], "names atoms -1"),
        ([[0, 1]], r"give \(2, e\)"),
        ([[0.5, 1], [1, 0.5]], "not whole"),
    ],
)
def test_lists_that_no_model_can_take(edges, message):
    with pytest.raises(InputError, match=message):
        AtomicGraph.from_edges([6, 6], np.eye(3)[:2], edges)
    with pytest.raises(InputError, match="shift is"):
        AtomicGraph.from_edges([6, 6], np.eye(3)[:2], [[0, 1], [1, 0]], np.zeros((1, 3)))
