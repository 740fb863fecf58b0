"""Element tables that begin, and are trained, by how alike two elements are."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from equitensor.graph import similar_elements
from equitensor.nn.weights import ElementTable

if TYPE_CHECKING:
    from equitensor.models.potential import Potential


def begin_alike(backbone: nn.Module, elements) -> None:
    """Rows of a table, drawn independently, become rows of the same variance that are as alike as their elements."""
    root = torch.linalg.cholesky(covariance(elements))
    for weight in _tables(backbone):
        with torch.no_grad():
            weight.copy_(_mixed(root, weight))


def train_alike(model: "Potential", kept: Collection[int] = ()) -> None:
    """What an element learns, those that resemble it learn: gradients of rows of a potential's tables are multiplied
    by their covariance. This comes before Adam's normalisation: an element that few batches hold follows its like.

    kept: atomic numbers whose rows stay as they are. Of elements that no structure holds every gradient is another's,
    and however small it is, Adam makes steps of the usual size of it.
    """
    shared = covariance(model.elements)
    shared[[z in kept for z in model.elements]] = 0.0
    for weight in _tables(model.backbone):
        if weight.requires_grad:
            weight.register_hook(lambda gradient: _mixed(shared, gradient))


def _mixed(by: Tensor, rows: Tensor) -> Tensor:
    return (by.to(rows) @ rows.reshape(len(rows), -1)).view_as(rows)


def covariance(elements) -> Tensor:
    """That of `equitensor.graph.similar_elements`, (E, E), float64."""
    return torch.from_numpy(similar_elements.covariance(elements))


def _tables(module: nn.Module):
    return [table.weight for table in module.modules() if isinstance(table, ElementTable)]
