"""The loss: weighted squared errors of forces, energies per atom and stress, missing labels left out."""

import math

import torch
from torch import Tensor

from equitensor.graph import AtomicGraph


def residuals(prediction: dict[str, Tensor], graph: AtomicGraph) -> dict[str, Tensor]:
    """Errors of what is labelled: energy (per structure), energy_per_atom, forces and stress (components), flat.

    Forces on atoms marked fixed do not count. Also `<name>_weight`, the weight of the structure each belongs to.
    """
    weight = torch.ones_like(prediction["energy"]) if graph.weight is None else graph.weight
    found = {}
    if graph.energy is not None:
        known = ~graph.energy.isnan()
        error = (prediction["energy"] - graph.energy)[known]
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
        known = ~graph.stress.isnan().flatten(1).any(dim=1) & graph.pbc.all(dim=1)
        found["stress"] = (prediction["stress"] - graph.stress)[known].flatten(1)
        found["stress_weight"] = weight[known]
    return found


def loss(found: dict[str, Tensor], weights: dict[str, float], huber: float = math.inf) -> Tensor:
    """sum over forces, energy and stress of weight times the mean square of its residuals (energy: per atom).

    A force that is off by more than `huber` (eV/Angstrom) counts linearly beyond it, so that a few atoms far from
    equilibrium do not rule the training.
    """
    total = 0.0
    for name, quantity in (("forces", "forces"), ("energy", "energy_per_atom"), ("stress", "stress")):
        if weights[name] and quantity in found and found[quantity].numel():
            square = found[quantity].square()
            if name == "forces" and math.isfinite(huber):
                square = _linear_beyond(square.sum(dim=1), huber**2) / 3
            square = square.mean(dim=1) if square.dim() > 1 else square
            total = total + weights[name] * (found[f"{name}_weight"] * square).mean()
    return total


def _linear_beyond(square: Tensor, limit: float) -> Tensor:
    """x^2 -> x^2 up to x^2 = limit = d^2, then 2 d |x| - d^2."""
    beyond = 2 * (limit * square.clamp(min=limit)).sqrt() - limit  # clamped: no infinite slope of the root at 0
    return torch.where(square <= limit, square, beyond)
