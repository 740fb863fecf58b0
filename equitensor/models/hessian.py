"""Second derivatives of the energy of a potential with respect to positions, by automatic differentiation."""

import torch
from torch import Tensor

from equitensor.graph import AtomicGraph

_EDGES = 5000  # in a batch: some hundred MiB for a default model


@torch.inference_mode(False)
def hessian(model, graph: AtomicGraph) -> Tensor:
    """(3n, 3n) d2E / dx_i dx_j of the one structure of a graph, float64, eV/Angstrom^2.

    The rows are gradients of forces. Several at once: copies of the structure side by side in one graph, a row of each.
    In the precision of the model; memory goes with the edges of a batch of copies.
    """
    graph = graph.outside_inference()
    rows = 3 * graph.num_nodes
    copies = max(1, min(rows, _EDGES // max(graph.num_edges, 1)))
    batch = AtomicGraph.collate([graph] * copies)
    with torch.enable_grad():
        pos = batch.pos.detach().clone().requires_grad_()
        energy = model.atomic_energies(batch, batch.edge_vectors(pos, batch.cell)).sum()
        gradient = _gradient(energy, pos, create_graph=True).reshape(copies, rows)
        blocks = [_rows(gradient, pos, first, copies) for first in range(0, rows, copies)]
    return torch.cat(blocks)[:rows]


def _rows(gradient: Tensor, pos: Tensor, first: int, copies: int) -> Tensor:
    """(copies, 3n) rows of the Hessian from `first` on, of each copy another; after the last row, the last again."""
    wanted = (first + torch.arange(copies, device=pos.device)).clamp(max=gradient.shape[1] - 1)
    chosen = gradient.gather(1, wanted[:, None]).sum()
    return _gradient(chosen, pos, retain_graph=True).reshape(copies, -1).detach()


def _gradient(of: Tensor, pos: Tensor, **how) -> Tensor:
    """Zero where nothing depends on positions, as of an atom alone."""
    if not of.requires_grad:
        return torch.zeros_like(pos)
    return torch.autograd.grad(of, pos, allow_unused=True, materialize_grads=True, **how)[0]
