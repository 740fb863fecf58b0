"""Ours in the place of a module of e3nn's: its instructions, its very parameters, its signs and its state dict."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn

from equitensor.errors import InputError
from equitensor.interfaces.e3nn.convolution import Convolution
from equitensor.interfaces.e3nn.instructions import Instruction
from equitensor.interfaces.e3nn.linear import Linear
from equitensor.interfaces.e3nn.linear_plan import LinearInstruction
from equitensor.interfaces.e3nn.products import (
    ElementwiseTensorProduct,
    FullTensorProduct,
    FullyConnectedTensorProduct,
)
from equitensor.interfaces.e3nn.species_product import SpeciesProduct
from equitensor.interfaces.e3nn.square import TensorSquare
from equitensor.interfaces.e3nn.tensor_product import TensorProduct
from equitensor.o3 import as_irreps

_PRODUCTS = (TensorProduct, FullyConnectedTensorProduct, FullTensorProduct, ElementwiseTensorProduct, TensorSquare)
_PRODUCT_OF: dict[str, type[TensorProduct]] = {cls.__name__: cls for cls in _PRODUCTS}
_KNOWN = (*_PRODUCT_OF, Linear.__name__)
_P = TypeVar("_P", bound=TensorProduct)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def origin(cls: type) -> tuple[str, str]:
    """The package and the name of a class, also of one whose code came with a model in a torch package."""
    words = cls.__module__.split(".")
    return words[1] if words[0].startswith("<torch_package_") and len(words) > 1 else words[0], cls.__name__


def has_hooks(module: nn.Module) -> bool:
    """Whether something else happens as well when it is called or differentiated."""
    return any(getattr(module, hooks) for hooks in _HOOKS)


def is_product(module: object) -> bool:
    """Whether it is a tensor product of e3nn's, or one that TorchScript has compiled."""
    name = _name_in_e3nn(module)
    return name is not None and name in _PRODUCT_OF


def is_linear(module: nn.Module) -> bool:
    """Whether it is a Linear of e3nn's."""
    return _name_in_e3nn(module) == Linear.__name__ and not isinstance(module, torch.jit.ScriptModule)


def reason_to_leave(module: Any) -> str | None:
    """Why a tensor product or Linear of e3nn's cannot be replaced, or None."""
    if isinstance(module, torch.jit.ScriptModule):
        return "scripted: accelerate the model before TorchScript compiles it"
    if origin(type(module)) != ("e3nn", _name_in_e3nn(module)):
        return f"{type(module).__name__} is a class of its own and may compute something else"
    if has_hooks(module):
        return "it has hooks"
    if is_linear(module) and not (module.internal_weights and module.weight.dim() == 1):
        return "its weights come with the call, or are those of several features"
    return None


def replacement(product: Any, cls: type[TensorProduct] | None = None) -> TensorProduct:
    """Our product with the instructions, parameters, signs and mode of one of e3nn's.

    Args:
        cls: `Convolution` for one that gathers and sums as well; the product of the same name by default.
    Raises:
        InputError: for a module that is not exactly one of e3nn's products.
    """
    # The check below refuses a module of another name.
    return _replaced(product, cls or _PRODUCT_OF.get(type(product).__name__, TensorProduct))


def _replaced(product: Any, cls: type[_P]) -> _P:
    reason = reason_to_leave(product) if is_product(product) else "it is not a tensor product of e3nn"
    if reason:
        raise InputError(f"{type(product).__name__} cannot be replaced: {reason}")
    ours = _untrained(product, cls)
    # The same tables: neither the factors nor the signs are computed anew.
    ours.instructions = [Instruction(*item) for item in product.instructions]
    ours._plan()
    ours.to(product.output_mask)
    if ours.weight_numel > 0 and product.internal_weights:
        del ours.weight
        ours.weight, ours.internal_weights = product.weight, True
    ours.load_state_dict(product.state_dict())
    return ours.train(product.training)


def convolution(product: Any) -> Convolution:
    """`replacement` with the gather before a product and the sum behind it."""
    return _replaced(product, Convolution)


def species_product(product: Any, of_species: bool) -> SpeciesProduct:
    """`replacement` of a FullyConnectedTensorProduct whose second operand says the species of each atom."""
    ours = _replaced(product, SpeciesProduct)
    ours.of_species = of_species
    return ours


def linear(module: Any) -> Linear:
    """Our Linear with the instructions and parameters of one of e3nn's.

    Raises:
        InputError: for a module that is not exactly e3nn's Linear, or whose weights come with the call.
    """
    reason = reason_to_leave(module) if is_linear(module) else "it is not a Linear of e3nn"
    if reason:
        raise InputError(f"{type(module).__name__} cannot be replaced: {reason}")
    biases = {item.i_out for item in module.instructions if item.i_in == -1}
    ours = Linear(
        str(module.irreps_in),
        str(module.irreps_out),
        internal_weights=False,
        shared_weights=module.shared_weights,
        instructions=[(item.i_in, item.i_out) for item in module.instructions if item.i_in >= 0],
        biases=[slot in biases for slot in range(len(module.irreps_out))],
    )
    ours.instructions = [LinearInstruction(*item) for item in module.instructions]
    ours._plan()
    ours.to(module.output_mask)
    for name in ("weight", "bias"):
        if isinstance(getattr(module, name), nn.Parameter):
            delattr(ours, name)
            setattr(ours, name, getattr(module, name))
    ours.internal_weights = True
    return ours.train(module.training)


def _untrained(product: Any, cls: type[_P]) -> _P:
    """The same class and irreps, whatever the arguments were that its instructions come from."""
    ours = cls.__new__(cls)
    TensorProduct.__init__(
        ours,
        str(product.irreps_in1),
        str(product.irreps_in2),
        str(product.irreps_out),
        [tuple(item)[:5] for item in product.instructions],
        internal_weights=False,
        shared_weights=product.shared_weights,
        compile_right=any(key.startswith("_compiled_main_right.") for key in product.state_dict()),
        _specialized_code=product._specialized_code,
        _optimize_einsums=product._optimize_einsums,
    )
    if cls is TensorSquare:
        ours.irreps_in = as_irreps(str(product.irreps_in))
    return ours


def _name_in_e3nn(module: object) -> str | None:
    """The name of the class of e3nn's that a module is, or derives from."""
    if isinstance(module, torch.jit.ScriptModule):
        name = getattr(module, "original_name", "")
        return name if name in _KNOWN else None
    names = (origin(cls) for cls in type(module).__mro__)
    return next((name for package, name in names if package == "e3nn" and name in _KNOWN), None)
