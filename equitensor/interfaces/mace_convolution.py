"""MACE's interaction blocks: gather, product and sum in one operation, through the hook that MACE has for it.

With an attribute `conv_fusion` a block gives `conv_tp` the features of the nodes and `edge_index`, and takes the sums.
Its `skip_tp` multiplies features with the one-hot element of each atom.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from equitensor.interfaces import cuequivariance, cuequivariance_products
from equitensor.interfaces.e3nn import swap

HOOK = "conv_fusion"


def is_interaction(module: nn.Module) -> bool:
    """Whether it is an interaction block of MACE's, or derives from one."""
    return ("mace", "InteractionBlock") in map(swap.origin, type(module).__mro__)


def is_fused(block: nn.Module) -> bool:
    """Whether its convolution is ours already."""
    return isinstance(getattr(block, "conv_tp", None), (swap.Convolution, cuequivariance_products.Convolution))


def reason_to_leave(block: Any) -> str | None:
    """Why the convolution of an interaction block cannot be replaced, or None."""
    product = getattr(block, "conv_tp", None)
    if not (swap.is_product(product) or cuequivariance.is_channelwise(product)):
        return "its conv_tp is not a tensor product of e3nn or cuEquivariance"
    if HOOK not in type(block).forward.__code__.co_consts:
        return f"{type(block).__name__} has no hook for it in this version of MACE: only the product is replaced"
    return (swap if swap.is_product(product) else cuequivariance).reason_to_leave(product)


def fuse(block: Any) -> nn.Module:
    """Replace `conv_tp` of a block by our convolution, and return it."""
    if swap.is_product(block.conv_tp):
        block.conv_tp = swap.convolution(block.conv_tp)
    else:
        block.conv_tp = cuequivariance.convolution(block.conv_tp, like=next(block.parameters(), None))
    setattr(block, HOOK, "equitensor")
    return block.conv_tp


def is_skip(name: str, parent: nn.Module) -> bool:
    """Whether the child `name` of a module multiplies features with one-hot elements."""
    return name == "skip_tp" and is_interaction(parent)
