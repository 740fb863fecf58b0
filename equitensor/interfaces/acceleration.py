"""`accelerate`: what we compute faster inside any model gives way to ours, in place.

Convolutions of MACE and NequIP (gather, tensor product and sum as one operation), MACE's symmetric contractions,
and e3nn's and cuEquivariance's layers wherever they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from equitensor.errors import InputError
from equitensor.interfaces import cuequivariance, mace, mace_convolution, nequip
from equitensor.interfaces.e3nn import swap
from equitensor.interfaces.e3nn.species_product import is_possible

HOSTS = "e3nn, cuEquivariance, MACE or NequIP"
FEW = 8


@dataclass
class Swaps:
    """What `accelerate` did: modules by name with their repr, and those left as they were, with the reason."""

    swapped: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{len(self.swapped)} modules replaced, {len(self.left)} left as they were"]
        lines += [f"  {name}: {module}" for name, module in self.swapped.items()]
        lines += [f"  {name}: not replaced: {reason}" for name, reason in self.left.items()]
        return "\n".join(lines)


def accelerate(model: nn.Module) -> Swaps:
    """Replace inside `model` all that we compute faster: same parameters, outputs and state dict.

    Weights stay the same `Parameter` objects, so optimisers, EMA and checkpoints go on as before.

    Raises:
        InputError: a model that has been compiled, or with nothing in it to replace.
    """
    _check(model)
    swaps = Swaps()
    for step in (_convolutions, _contractions, _species_products, _products, _linears, _layers_of_cuequivariance):
        step(model, swaps)
    if not swaps.swapped:
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in swaps.left.items())
        raise InputError(
            f"nothing in {type(model).__name__} was replaced: "
            + (f"all was left as it was\n{reasons}" if reasons else f"it has no module of {HOSTS} that we know")
        )
    return swaps


def _check(model: nn.Module) -> None:
    name = type(model).__name__
    if not isinstance(model, nn.Module):
        raise InputError(f"{name} is not a torch module: give the model, such as calculator.models[0] of MACE's")
    by = {"TorchScript": torch.jit.ScriptModule, "torch.compile": torch._dynamo.OptimizedModule}
    compiled = [how for how, cls in by.items() if isinstance(model, cls)] or ["NequIP"] * nequip.is_compiled(model)
    if compiled:
        raise InputError(f"{name} is compiled by {compiled[0]}: load it uncompiled and accelerate it before that")
    if swap.is_product(model) or swap.is_linear(model):
        raise InputError(f"{name} is itself what would be replaced: use equitensor.interfaces.e3nn.replacement(module)")
    if cuequivariance.is_layer(model):
        where = "equitensor.interfaces.cuequivariance.replacement(module)"
        raise InputError(f"{name} is itself what would be replaced: use {where}")


def _convolutions(model: nn.Module, swaps: Swaps) -> None:
    for name, module in list(model.named_modules()):
        if mace_convolution.is_interaction(module) and not mace_convolution.is_fused(module):
            reason = mace_convolution.reason_to_leave(module)
            if reason:
                swaps.left[name] = reason
            else:
                swaps.swapped[f"{name}.conv_tp".lstrip(".")] = repr(mace_convolution.fuse(module))
    _replace(model, swaps, nequip.is_scatter, nequip.reason_to_leave, nequip.TensorProductScatter)


def _contractions(model: nn.Module, swaps: Swaps) -> None:
    _replace(model, swaps, _is_contraction, lambda _: None, mace.replacement)


def _species_products(model: nn.Module, swaps: Swaps) -> None:
    """Products with what an atom's species says. With few numbers of that, those of e3nn are as quick."""
    for name, parent, key, child in list(_places(model, swap.is_product)):
        skip, embedded = mace_convolution.is_skip(key, parent), nequip.is_self_connection(key, parent)
        if not (skip or embedded) or swap.reason_to_leave(child) or not is_possible(child):
            continue
        if child.irreps_in2.dim < FEW:
            swaps.left[name] = f"e3nn's is as quick with less than {FEW} elements"
            continue
        parent._modules[key] = swap.species_product(child, of_species=embedded)
        swaps.swapped[name] = repr(parent._modules[key])


def _products(model: nn.Module, swaps: Swaps) -> None:
    _replace(model, swaps, swap.is_product, swap.reason_to_leave, swap.replacement)


def _linears(model: nn.Module, swaps: Swaps) -> None:
    _replace(model, swaps, swap.is_linear, _reason_to_leave_linear, swap.linear)


def _reason_to_leave_linear(linear: Any) -> str | None:
    """One without a path MACE gives features of another width: its read-out of dipoles from scalars alone."""
    return swap.reason_to_leave(linear) if len(linear.instructions) else "it has no path: its output is zero"


def _layers_of_cuequivariance(model: nn.Module, swaps: Swaps) -> None:
    """Those without weights do not say in what precision they are called: in that of the model."""
    like = next((parameter for parameter in model.parameters() if parameter.is_floating_point()), None)
    places = list(_places(model, cuequivariance.is_layer))
    skips = {id(child) for _, parent, key, child in places if mace_convolution.is_skip(key, parent)}

    def make(layer: nn.Module) -> nn.Module:
        return cuequivariance.replacement(layer, of_species=id(layer) in skips, like=like)

    _replace(model, swaps, cuequivariance.is_layer, cuequivariance.reason_to_leave, make)
    for name, parent, _, child in _places(model, lambda _: True):
        if cuequivariance.is_bare_polynomial(child, parent):
            swaps.left[name] = "a bare polynomial of cuEquivariance's, such as conv_fusion makes"


def _is_contraction(module: nn.Module) -> bool:
    return swap.origin(type(module)) == ("mace", "SymmetricContraction")


def _replace(model: nn.Module, swaps: Swaps, wanted: Callable, reason_to_leave: Callable, make: Callable) -> None:
    """Where several parents share a module they share ours."""
    made: dict[int, nn.Module] = {}
    for name, parent, key, child in list(_places(model, wanted)):
        if name in swaps.left:
            continue
        reason = reason_to_leave(child)
        if reason:
            swaps.left[name] = reason
            continue
        if id(child) not in made:
            made[id(child)] = make(child)
        parent._modules[key] = made[id(child)]
        swaps.swapped[name] = repr(made[id(child)])


def _places(model: nn.Module, wanted: Callable) -> Iterator[tuple]:
    """(name, parent, key, child) of every such child, also where several parents share one."""
    for name, parent in model.named_modules():
        for key, child in parent._modules.items():
            if child is not None and wanted(child):
                yield f"{name}.{key}".lstrip("."), parent, key, child
