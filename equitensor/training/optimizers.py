"""Optimisers by name: SOAP or Muon for the weight matrices, with Adam for everything else, or Adam alone."""

from collections.abc import Mapping

import torch
from torch import nn

from equitensor.models import Potential
from equitensor.nn.weights import ElementTable
from equitensor.training.parts import rates
from equitensor.training.soap import SOAP, by_shape

DEFAULT_LR = {"soap": 0.01, "adam": 0.01, "muon": 0.02}
ADAM_RATIO = 0.5  # learning rate of the parameters that are not matrices, relative to that of the matrices
SMALLEST_MATRIX = 4


def build_optimizer(
    model: nn.Module, name: str = "soap", lr: float | Mapping[str, float] | None = None, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """The optimiser `name` for a model, at its default learning rate unless one is given, for all or by part.

    Each step takes lr * weight_decay of every weight matrix away (decoupled, as in AdamW). An architecture that wants
    less than the default learning rate says so as `lr_scale`.
    """
    groups = []
    for rate, matrices, others in _by_rate(model, lr, default_lr(model, name)):
        if name == "adam":
            groups += [{"params": matrices, "lr": rate, "weight_decay": weight_decay}, {"params": others, "lr": rate}]
            continue
        groups += [
            {"params": matrices, "lr": rate, "matrices": True, "weight_decay": weight_decay},
            {"params": others, "lr": rate * ADAM_RATIO, "matrices": False, "betas": (0.9, 0.99, 0.0)},
        ]
    groups = [group for group in groups if group["params"]]
    if name == "adam":
        return torch.optim.AdamW(groups, weight_decay=0.0, amsgrad=True)
    return {"soap": SOAP, "muon": Muon}[name](groups)


def default_lr(model: nn.Module, name: str) -> float:
    """Of the weight matrices, where none is given."""
    return DEFAULT_LR[name] * getattr(getattr(model, "backbone", model), "lr_scale", 1.0)


def _by_rate(model: nn.Module, lr, default: float):
    """(learning rate, matrices, other weights), a triple for each rate."""
    matrices, others = split_parameters(model)
    if not isinstance(lr, Mapping):
        yield default if lr is None else lr, matrices, others
        return
    if not isinstance(model, Potential):
        raise TypeError(f"learning rates by part: a Potential has parts, {type(model).__name__} has none")
    of = rates(model, lr, default)
    for rate in dict.fromkeys(of.values()):
        yield rate, *([weight for weight in kind if of[id(weight)] == rate] for kind in (matrices, others))


def split_parameters(model: nn.Module) -> tuple[list, list]:
    """Stacks of matrices (..., m, n), and everything else: vectors, thin matrices, tables per element."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, ElementTable | nn.Embedding)}
    matrices, others = [], []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        is_matrix = parameter.dim() >= 2 and min(parameter.shape[-2:]) >= SMALLEST_MATRIX
        (matrices if is_matrix and id(parameter) not in tables else others).append(parameter)
    return matrices, others


class Muon(SOAP):
    """Momentum, orthogonalised by Newton-Schulz iterations, for stacks of matrices; Adam for the rest.

    Jordan et al. 2024. torch.optim.Muon takes plain matrices only, one call each; this joins equal shapes.
    """

    def _step_matrices(self, group, parameters):
        for stack in by_shape(parameters):
            self._step_stack(group, stack)

    def _step_stack(self, group, parameters):
        m, n = parameters[0].shape[-2:]
        grads = torch.cat([p.grad.reshape(-1, m, n) for p in parameters])
        state = self.state[parameters[0]]  # of all of them
        if not state:
            state["momentum"] = torch.zeros_like(grads)
        beta = group["betas"][0]
        state["momentum"].lerp_(grads, 1 - beta)
        update = orthogonalised(grads.lerp(state["momentum"], beta)) * max(1.0, m / n) ** 0.5
        counts = [p.numel() // (m * n) for p in parameters]
        for p, u in zip(parameters, update.split(counts), strict=True):
            p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(u.view_as(p), alpha=group["lr"])


def orthogonalised(matrices: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """The nearest (semi-)orthogonal matrices of a stack (..., m, n), singular values within about 0.3 of one."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
