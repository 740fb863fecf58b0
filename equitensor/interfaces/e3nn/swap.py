"""`accelerate`: e3nn's tensor products inside any module give way to ours, in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import torch
from torch import nn

from equitensor.errors import InputError
from equitensor.interfaces.e3nn.instructions import Instruction
from equitensor.interfaces.e3nn.products import (
    ElementwiseTensorProduct,
    FullTensorProduct,
    FullyConnectedTensorProduct,
)
from equitensor.interfaces.e3nn.square import TensorSquare
from equitensor.interfaces.e3nn.tensor_product import TensorProduct
from equitensor.o3 import as_irreps

_OURS = (TensorProduct, FullyConnectedTensorProduct, FullTensorProduct, ElementwiseTensorProduct, TensorSquare)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass
class Swaps:
    """What `accelerate` did: modules by name with their repr, and those left as they were, with the reason."""

    swapped: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{len(self.swapped)} tensor products of e3nn replaced, {len(self.left)} left as they were"]
        lines += [f"  {name}: {product}" for name, product in self.swapped.items()]
        lines += [f"  {name}: left, {reason}" for name, reason in self.left.items()]
        return "\n".join(lines)


def accelerate(module: nn.Module) -> Swaps:
    """Replace every e3nn tensor product inside `module` by ours: same parameters, outputs and state dict.

    Weights stay the same `Parameter` objects, so optimisers, EMA and checkpoints go on as before.

    Raises:
        InputError: where `module` itself is the product, which only its owner can replace.
    """
    swaps, made = Swaps(), {}
    if _is_product(module):
        raise InputError(f"{type(module).__name__} is a tensor product itself: use {replacement.__name__}(module)")
    for name, parent, key, child in _places(module):
        reason = reason_to_leave(child)
        if reason:
            swaps.left[name] = reason
            continue
        if id(child) not in made:
            made[id(child)] = replacement(child)
        parent._modules[key] = made[id(child)]
        swaps.swapped[name] = repr(made[id(child)])
    return swaps


def replacement(product: nn.Module) -> TensorProduct:
    """Our product with the instructions, parameters, signs and mode of one of e3nn's.

    Raises:
        InputError: for a module that is not exactly one of e3nn's products.
    """
    reason = reason_to_leave(product) if _is_product(product) else "it is not a tensor product of e3nn"
    if reason:
        raise InputError(f"{type(product).__name__} cannot be replaced: {reason}")
    ours = _untrained(product)
    # The very numbers: neither the factors nor the signs are computed anew.
    ours.instructions = [Instruction(*item) for item in product.instructions]
    ours._plan()
    ours.to(product.output_mask)
    if ours.weight_numel > 0 and product.internal_weights:
        del ours.weight
        ours.weight, ours.internal_weights = product.weight, True
    ours.load_state_dict(product.state_dict())
    return ours.train(product.training)


def reason_to_leave(product: nn.Module) -> str | None:
    """Why `accelerate` does not touch a tensor product, or None."""
    if isinstance(product, torch.jit.ScriptModule):
        return "it has been compiled by TorchScript already: accelerate the model before that"
    if type(product) not in _theirs():
        return f"{type(product).__name__} is a class of its own and may compute something else"
    if any(getattr(product, hooks) for hooks in _HOOKS):
        return "it has hooks"
    return None


def _untrained(product: nn.Module) -> TensorProduct:
    """The same class and irreps, whatever the arguments were that its instructions come from."""
    cls = _theirs()[type(product)]
    ours = cls.__new__(cls)
    TensorProduct.__init__(
        ours,
        product.irreps_in1,
        product.irreps_in2,
        product.irreps_out,
        [tuple(item)[:5] for item in product.instructions],
        internal_weights=False,
        shared_weights=product.shared_weights,
        compile_right=any(key.startswith("_compiled_main_right.") for key in product.state_dict()),
        _specialized_code=product._specialized_code,
        _optimize_einsums=product._optimize_einsums,
    )
    if cls is TensorSquare:
        ours.irreps_in = product.irreps_in
    return ours


@cache
def _theirs() -> dict[type, type]:
    """Our class for each of e3nn's."""
    as_irreps("0e")  # e3nn 0.4.4 cannot be imported by itself under torch >= 2.6
    from e3nn import o3

    return {getattr(o3, cls.__name__): cls for cls in _OURS}


def _is_product(module: nn.Module) -> bool:
    if isinstance(module, torch.jit.ScriptModule):
        return getattr(module, "original_name", "") in [cls.__name__ for cls in _OURS]
    return isinstance(module, tuple(_theirs()))


def _places(module: nn.Module) -> list[tuple]:
    """(name, parent, key, product) of every product, also where several parents share one."""
    return [
        (f"{name}.{key}".lstrip("."), parent, key, child)
        for name, parent in module.named_modules()
        for key, child in parent._modules.items()
        if child is not None and _is_product(child)
    ]
