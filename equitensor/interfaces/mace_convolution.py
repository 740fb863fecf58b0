"""MACE's interaction blocks: gather, product and sum in one operation, through the hook that MACE has for it.

With an attribute `conv_fusion` a block gives `conv_tp` the features of the nodes and `edge_index`, and takes the sums.
Its `skip_tp` multiplies features with the one-hot element of each atom.
"""

from __future__ import annotations

from torch import nn

from equitensor.interfaces.e3nn import swap

HOOK = "conv_fusion"


def is_interaction(module: nn.Module) -> bool:
    """Whether it is an interaction block of MACE's, or derives from one."""
    return ("mace", "InteractionBlock") in map(swap.origin, type(module).__mro__)


def reason_to_leave(block: nn.Module) -> str | None:
    """Why the convolution of an interaction block cannot be replaced, or None."""
    if not swap.is_product(getattr(block, "conv_tp", None)):
        return "its conv_tp is not a tensor product of e3nn"
    if HOOK not in type(block).forward.__code__.co_consts:
        return f"{type(block).__name__} has no hook for it in this version of MACE: only the product is replaced"
    return swap.reason_to_leave(block.conv_tp)


def fuse(block: nn.Module) -> nn.Module:
    """Replace `conv_tp` of a block by our convolution, and return it."""
    block.conv_tp = swap.convolution(block.conv_tp)
    setattr(block, HOOK, "equitensor")
    return block.conv_tp


def is_skip(name: str, parent: nn.Module) -> bool:
    """Whether the child `name` of a module multiplies features with one-hot elements."""
    return name == "skip_tp" and is_interaction(parent)
