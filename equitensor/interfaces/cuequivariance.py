"""cuEquivariance's layers (`cuequivariance_torch`) give way to ours: which they are, which stay and why.

Its package is never imported: classes are known by their names, what they compute by the polynomial that they hold.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.interfaces import cuequivariance_layers as layers
from equitensor.interfaces import cuequivariance_products as products
from equitensor.interfaces.cuequivariance_polynomial import Polynomial, constant_name, exactly
from equitensor.interfaces.e3nn import swap

PACKAGE = "cuequivariance_torch"
GROUPS = ("O3", "O3_e3nn")
_PRODUCTS = {
    "ChannelWiseTensorProduct": "uv,iu,jv,kuv+ijk",
    "FullyConnectedTensorProduct": "uvw,iu,jv,kw+ijk",
    "Linear": "uv,iu,iv",
}
_CONTRACTION = "SymmetricContraction"


def is_layer(module: nn.Module) -> bool:
    """Whether it is a layer of theirs that we know, or derives from one."""
    return _name(module) is not None


def is_channelwise(module: object) -> bool:
    """Whether it is their channel-wise tensor product."""
    return _name(module) == "ChannelWiseTensorProduct"


def is_bare_polynomial(module: nn.Module, parent: nn.Module) -> bool:
    """Whether it is a polynomial of theirs outside their layers, as `conv_fusion` puts into MACE's blocks."""
    inside = is_layer(parent) or swap.origin(type(parent))[0] == PACKAGE
    return not inside and (PACKAGE, "SegmentedPolynomial") in map(swap.origin, type(module).__mro__)


def reason_to_leave(layer: Any) -> str | None:
    """Why a layer of theirs cannot be replaced, or None."""
    name = _name(layer)
    if name is None or swap.origin(type(layer)) != (PACKAGE, name):
        return f"{type(layer).__name__} is a class of its own and may compute something else"
    if any(map(swap.has_hooks, layer.modules())):
        return "it has hooks"
    if "forward" in vars(layer):
        return "its forward is not that of its class"
    groups = {value.irrep_class.__name__ for key, value in vars(layer).items() if key.startswith("irreps_")}
    if not groups <= set(GROUPS):
        return f"its group is {', '.join(sorted(groups))}: only O3 is known"
    if getattr(layer.f, "method", "naive") != "naive":
        return "it has a GPU kernel of cuEquivariance's"
    if name == "Linear" and not (layer.internal_weights and layer.weight_classes == 1):
        return "its weights come with the call, or are those of several classes"
    return None if _is_known(layer, name) else "it does not hold the polynomial that we know for it"


def replacement(layer: nn.Module, of_species: bool = False, like: Tensor | None = None) -> layers.Layer:
    """Our layer with the parameter, values, layouts and state dict of one of theirs.

    Args:
        of_species: the second operand of a FullyConnectedTensorProduct says the element of each atom, one-hot.
        like: has the dtype and device of its operands; its weight by default, or else the default dtype.
    Raises:
        InputError: for a module that is not exactly one of their layers.
    """
    name = _checked(layer)
    arguments = layer, _polynomial(layer), _like(layer, like)
    if name == "FullyConnectedTensorProduct":
        return products.FullyConnectedTensorProduct(*arguments, of_species=of_species)
    return getattr(products if name == "ChannelWiseTensorProduct" else layers, name)(*arguments)


def convolution(product: nn.Module, like: Tensor | None = None) -> products.Convolution:
    """`replacement` of a ChannelWiseTensorProduct with the gather before it and the sum behind it."""
    _checked(product)
    return products.Convolution(product, _polynomial(product), _like(product, like))


def _checked(layer: nn.Module) -> str:
    name = _name(layer)
    reason = "it is not a layer of cuEquivariance's that we know" if name is None else reason_to_leave(layer)
    if name is None or reason:
        raise InputError(f"{type(layer).__name__} cannot be replaced: {reason}")
    return name


def _like(layer: Any, like: Tensor | None) -> Tensor:
    if layer.weight is not None:
        return layer.weight
    return torch.empty(0) if like is None else like


def _name(module: object) -> str | None:
    """The name of the layer of theirs that a module is, or derives from."""
    names = (name for package, name in map(swap.origin, type(module).__mro__) if package == PACKAGE)
    return next((name for name in names if name in _PRODUCTS or name == _CONTRACTION), None)


def _terms(layer: nn.Module) -> list:
    """The products that its polynomial sums, none where this version of theirs does not hold it."""
    polynomial = getattr(layer.f, "_polynomial_orig", None)
    return [] if polynomial is None else [term for _, term in polynomial.operations]


def _is_known(layer: Any, name: str) -> bool:
    forms = [str(term.subscripts) for term in _terms(layer)]
    if name != _CONTRACTION:
        known = forms == [_PRODUCTS[name]]
    else:
        known = forms == [",".join("u" * (order + 2)) for order in range(1, layer.contraction_degree + 1)]
    sizes = [shape for term in _terms(layer) for operand in term.operands for shape in operand.segments]
    return known and all(0 not in shape for shape in sizes) and all(term.num_paths > 0 for term in _terms(layer))


def _polynomial(layer: Any) -> Polynomial:
    """Its paths; constants that were loaded from a state dict win, as they do in theirs."""
    segments, constants = [], {}
    for number, term in enumerate(_terms(layer)):
        paths = [path for path in term.paths if path.coefficients.any()]
        segments.append([tuple(path.indices) for path in paths])
        for index, path in enumerate(paths):
            constants[constant_name(number, index)] = torch.tensor(path.coefficients, dtype=torch.float64)
    if getattr(layer, "projection", None) is not None:
        constants["projection"] = exactly(layer.projection)
    return Polynomial(segments, constants).with_stored(dict(layer.named_buffers()))
