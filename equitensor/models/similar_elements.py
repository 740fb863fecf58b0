"""How alike two elements are: the covariance by which element tables begin, and by which they are trained."""

import math

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from equitensor.nn.weights import ElementTable

# Pauling's electronegativity of the elements 1 to 96; Allen's of noble gases, estimates where neither has one.
_NEGATIVITY = (
    2.20, 4.16, 0.98, 1.57, 2.04, 2.55, 3.04, 3.44, 3.98, 4.79, 0.93, 1.31, 1.61, 1.90, 2.19, 2.58, 3.16, 3.24,
    0.82, 1.00, 1.36, 1.54, 1.63, 1.66, 1.55, 1.83, 1.88, 1.91, 1.90, 1.65, 1.81, 2.01, 2.18, 2.55, 2.96, 3.00,
    0.82, 0.95, 1.22, 1.33, 1.60, 2.16, 1.90, 2.20, 2.28, 2.20, 1.93, 1.69, 1.78, 1.96, 2.05, 2.10, 2.66, 2.60,
    0.79, 0.89, 1.10, 1.12, 1.13, 1.14, 1.13, 1.17, 1.20, 1.20, 1.10, 1.22, 1.23, 1.24, 1.25, 1.10, 1.27,
    1.30, 1.50, 2.36, 1.90, 2.20, 2.20, 2.28, 2.54, 2.00, 1.62, 1.87, 2.02, 2.00, 2.20, 2.20,
    0.79, 0.90, 1.10, 1.30, 1.50, 1.38, 1.36, 1.28, 1.13, 1.28,
)  # fmt: skip
_HEAVY = 1.30  # of the elements beyond
_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)
_SHELLS = ((2, 0, 0, 0), (2, 0, 0, 6), (2, 0, 0, 6), (2, 0, 10, 6), (2, 0, 10, 6), (2, 14, 10, 6), (2, 14, 10, 6))
_LENGTH = 0.7
_OWN = 0.1  # of the variance: what no other element has


def begin_alike(backbone: nn.Module, elements) -> None:
    """Rows of a table, drawn independently, become rows of the same variance that are as alike as their elements."""
    root = torch.linalg.cholesky(covariance(elements))
    for weight in _tables(backbone):
        with torch.no_grad():
            weight.copy_(_mixed(root, weight))


def train_alike(model: nn.Module, kept=()) -> None:
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
    """(E, E), float64, ones on the diagonal: 0.1 on its own and 0.9 exp(-|x - y|^2 / 2 0.7^2) of what elements are.

    x: shares of the s, f, d and p shell of the period that are filled, ln(period) / 2, covalent radius over 0.5
    Angstrom and electronegativity over 0.7. Cu and Ni have 0.87, C and N 0.53, C and O 0.15, Na and Cl 0.
    """
    x = torch.tensor([_described(int(z)) for z in elements], dtype=torch.float64)
    near = torch.exp(-0.5 * (x[:, None] - x[None]).square().sum(dim=2) / _LENGTH**2)
    return (1 - _OWN) * near + _OWN * torch.eye(len(x), dtype=torch.float64)


def _described(z: int) -> list[float]:
    period = next(p for p, last in enumerate(_NOBLE) if z <= last)
    left, filled = z - _NOBLE[period - 1], []
    for size in _SHELLS[period - 1]:
        taken = min(left, size)
        filled.append(taken / size if size else 0.0)
        left -= taken
    negativity = _NEGATIVITY[z - 1] if z <= len(_NEGATIVITY) else _HEAVY
    return [*filled, math.log(period) / 2, float(covalent_radii[z]) / 0.5, negativity / 0.7]


def _tables(module: nn.Module):
    return [table.weight for table in module.modules() if isinstance(table, ElementTable)]
