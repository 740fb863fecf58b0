"""NequIP's `TensorProductScatter`: gather, product and sum in one operation.

TorchScript reads the annotations, unquoted: no `from __future__ import annotations` here.
"""

from typing import Any

from torch import Tensor, nn

from equitensor.interfaces.e3nn import swap


class TensorProductScatter(nn.Module):
    """Ours for NequIP's module of that name: the same call and state dict."""

    def __init__(self, theirs: Any) -> None:
        super().__init__()
        self.tp = swap.convolution(theirs.tp)
        self.feature_irreps_in, self.irreps_edge_attr = self.tp.irreps_in1, self.tp.irreps_in2
        self.irreps_mid, self.instructions = self.tp.irreps_out, self.tp.instructions
        self.train(theirs.training)

    def forward(self, x: Tensor, edge_attr: Tensor, edge_weight: Tensor, edge_dst: Tensor, edge_src: Tensor) -> Tensor:
        """x (nodes, d1), edge_attr (edges, d2), edge_weight (edges, weights): (nodes, d3)."""
        return self.tp._convolve(x, edge_attr, edge_weight, edge_src, edge_dst)


def is_scatter(module: nn.Module) -> bool:
    """Whether it is NequIP's own, uncompiled."""
    return swap.origin(type(module)) == ("nequip", TensorProductScatter.__name__)


def is_compiled(model: nn.Module) -> bool:
    """Whether NequIP compiles it at its first call, or has compiled it."""
    return swap.origin(type(model)) in (("nequip", "CompileGraphModel"), ("nequip", "DictInputOutputWrapper"))


def reason_to_leave(module: Any) -> str | None:
    """Why a `TensorProductScatter` cannot be replaced, or None."""
    if not swap.is_product(module.tp):
        return "its tp is not a tensor product of e3nn"
    return swap.reason_to_leave(module.tp)


def is_self_connection(name: str, parent: nn.Module) -> bool:
    """Whether the child `name` of a module multiplies features with the embedding of each atom's type."""
    return name == "sc" and swap.origin(type(parent)) == ("nequip", "InteractionBlock")
