"""The loss: weighted squared errors of forces, energies per atom and stress, missing labels left out."""

import math

import torch
from torch import Tensor

from equitensor.graph import AtomicGraph

TERMS = {"forces": "forces", "energy": "energy_per_atom", "stress": "stress"}  # term of the loss -> its residuals


def residuals(prediction: dict[str, Tensor], graph: AtomicGraph) -> dict[str, Tensor]:
    """Errors of what is labelled: energy (per structure), energy_per_atom, forces and stress (components), flat.

    Forces on atoms marked fixed do not count. Also `<name>_weight`, the weight of the structure each belongs to. Every
    name is there, with no rows where nothing is labelled or predicted: parts of a batch can be joined.
    """
    energy = prediction["energy"]
    weight = torch.ones_like(energy) if graph.weight is None else graph.weight
    none = {"energy": energy.new_zeros(0), "forces": energy.new_zeros(0, 3), "stress": energy.new_zeros(0, 9)}
    none["energy_per_atom"] = none["energy"]
    found = none | {f"{name}_weight": weight[:0] for name in TERMS}
    if graph.energy is not None:
        known = ~graph.energy.isnan()
        error = (energy - graph.energy)[known]
        found["energy"] = error
        found["energy_per_atom"] = error / graph.atoms_per_graph[known]
        found["energy_weight"] = weight[known]
    if graph.forces is not None and "forces" in prediction:
        known = ~graph.forces.isnan().any(dim=1)
        if graph.fixed is not None:
            known = known & ~graph.fixed
        found["forces"] = (prediction["forces"] - graph.forces)[known]
        found["forces_weight"] = weight.index_select(0, graph.batch)[known]
    if graph.stress is not None and "stress" in prediction:
        known = labelled_stress(graph)
        found["stress"] = (prediction["stress"] - graph.stress)[known].flatten(1)
        found["stress_weight"] = weight[known]
    return found


def labelled_stress(graph: AtomicGraph) -> Tensor:
    """(b,) bool: the structures whose stress counts, periodic along all directions and labelled."""
    return ~graph.stress.isnan().flatten(1).any(dim=1) & graph.pbc.all(dim=1)


def square_sums(found: dict[str, Tensor], huber: float = math.inf) -> dict[str, tuple[Tensor, int]]:
    """term -> (sum of weighted squares of its residuals, their number), for the terms that have any.

    Sums and numbers of several batches, shards or ranks add up. A force that is off by more than `huber`
    (eV/Angstrom) counts linearly beyond it, so that a few atoms far from equilibrium do not rule the training.
    """
    sums = {}
    for name, quantity in TERMS.items():
        if len(found[quantity]) == 0:
            continue
        square = found[quantity].square()
        if name == "forces" and math.isfinite(huber):
            square = _linear_beyond(square.sum(dim=1), huber**2) / 3
        square = square.mean(dim=1) if square.dim() > 1 else square
        sums[name] = ((found[f"{name}_weight"] * square).sum(), len(square))
    return sums


def loss(found: dict[str, Tensor], weights: dict[str, float], huber: float = math.inf, counts=None) -> Tensor:
    """sum over forces, energy and stress of weight times the mean square of its residuals (energy: per atom).

    `counts` (term -> number) are what the sums are divided by where these residuals are only a part of a batch.
    """
    total = 0.0
    for name, (square, count) in square_sums(found, huber).items():
        if weights[name]:
            total = total + weights[name] * square / (count if counts is None else counts[name])
    return total


def _linear_beyond(square: Tensor, limit: float) -> Tensor:
    """x^2 -> x^2 up to x^2 = limit = d^2, then 2 d |x| - d^2."""
    beyond = 2 * (limit * square.clamp(min=limit)).sqrt() - limit  # clamped: no infinite derivative of the root at 0
    return torch.where(square <= limit, square, beyond)
