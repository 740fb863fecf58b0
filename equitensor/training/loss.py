"""The loss: weighted squared errors of forces, of energies and of virials per atom ...; missing labels are left out."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.graph import AtomicGraph
from equitensor.graph.labels import ENERGY, Label, labels


def residuals(prediction: dict[str, Tensor], graph: AtomicGraph) -> dict[str, Tensor]:
    """Errors of what is labelled, by quantity, (rows, components): energy and energy_per_atom (rows,), forces, ...

    Forces on atoms marked fixed do not count. Also `<label>_weight`, the weight of the structure each row belongs to.
    Every name is there, with no rows where nothing is labelled or predicted: parts of a batch can be joined.
    """
    energy = prediction[ENERGY.key]
    weight = torch.ones_like(energy) if graph.weight is None else graph.weight
    errors = {}
    for label in labels():
        value, predicted = getattr(graph, label.name), prediction.get(label.key)
        if value is None or predicted is None:
            _add_nothing(errors, label, energy, weight)
            continue
        known = labelled(label, graph)
        error = (predicted - value)[known]
        rows = graph.batch if label.per_atom else None
        for quantity in label.quantities:
            factor = None if quantity.factor is None else quantity.factor(graph.atoms_per_graph, _volume(label, graph))
            errors[quantity.name] = _flat(_scaled(error, factor, rows, known))
        errors[f"{label.name}_weight"] = (weight if rows is None else weight.index_select(0, rows))[known]
    return errors


def labelled(label: Label, graph: AtomicGraph) -> Tensor:
    """(b,) or (n,) bool: the structures or atoms whose label counts."""
    value = getattr(graph, label.name)
    known = ~value.isnan()
    known = known.flatten(1).all(dim=1) if known.dim() > 1 else known
    if label.periodic:
        periodic = graph.pbc.all(dim=1)
        known = known & (periodic.index_select(0, graph.batch) if label.per_atom else periodic)
    if label.moving_only and graph.fixed is not None:
        known = known & ~graph.fixed
    return known


def requests(counts: list[int], weights: dict[str, float] | None = None) -> dict[str, bool]:
    """label -> whether to ask a model for it: those computed on request that the batch has any of (`label_counts`) and,
    where `weights` are given, that count. Once for the batch: a part of molecules alone has no stress."""
    return {
        label.name: count > 0 and (weights is None or weights[label.name] > 0)
        for label, count in zip(labels(), counts, strict=True)
        if label.on_request
    }


def square_sums(errors: dict[str, Tensor], limits: dict[str, float] | None = None) -> dict[str, tuple[Tensor, int]]:
    """label -> (sum of weighted squares of the residuals of its term, their number), for those that have any.

    Sums and numbers of several batches, shards or ranks add up. What is off by more than the limit of its label counts
    linearly beyond it, so that a few structures far from equilibrium do not rule the training.
    """
    sums = {}
    for label in labels():
        residual = errors[label.term]
        if len(residual) == 0:
            continue
        square = residual.square()
        components = square.shape[1] if square.dim() > 1 else 1
        square = square.sum(dim=1) if square.dim() > 1 else square
        limit = math.inf if limits is None else limits.get(label.name, math.inf)
        if math.isfinite(limit):
            square = _linear_beyond(square, limit**2)
        square = square / components
        sums[label.name] = ((errors[f"{label.name}_weight"] * square).sum(), len(square))
    return sums


class Terms(NamedTuple):
    """What the loss of a shard needs beside its residuals: the further arguments of `loss`."""

    weights: dict[str, float]
    limits: dict[str, float] | None
    counts: dict[str, int]


def loss(errors: dict[str, Tensor], weights: dict[str, float], limits=None, counts=None) -> Tensor | float:
    """sum over the labels of weight times the mean square of the residuals of its term (energy, virial: per atom).

    limits: as in `square_sums`. counts: label -> number that its sum is divided by where these residuals are only a
    part of a batch.
    """
    total: Tensor | float = 0.0
    for name, (square, count) in square_sums(errors, limits).items():
        if weights[name]:
            total = total + weights[name] * square / (count if counts is None else counts[name])
    return total


def label_counts(graphs: Iterable[AtomicGraph]) -> list[int]:
    """How many labels of each kind count in a batch in these parts, in the order of the table."""
    counts = [0] * len(labels())
    for graph in graphs:
        for k, label in enumerate(labels()):
            if getattr(graph, label.name) is not None:
                counts[k] += int(labelled(label, graph).sum())
    return counts


def _add_nothing(errors, label, energy, weight):
    components = math.prod(label.shape)
    for quantity in label.quantities:
        errors[quantity.name] = energy.new_zeros((0, components) if label.shape else 0)
    errors[f"{label.name}_weight"] = weight[:0]


def _volume(label: Label, graph: AtomicGraph) -> Tensor | None:
    return torch.linalg.det(graph.cell).abs() if label.periodic else None


def _scaled(error, factor, rows, known):
    if factor is None:
        return error
    factor = (factor if rows is None else factor.index_select(0, rows))[known]
    return error * factor.view(-1, *[1] * (error.dim() - 1))


def _flat(rows: Tensor) -> Tensor:
    return rows.flatten(1) if rows.dim() > 1 else rows


def _linear_beyond(square: Tensor, limit: float) -> Tensor:
    """x^2 -> x^2 up to x^2 = limit = d^2, then 2 d |x| - d^2."""
    beyond = 2 * (limit * square.clamp(min=limit)).sqrt() - limit  # clamped: no infinite derivative of the root at 0
    return torch.where(square <= limit, square, beyond)
