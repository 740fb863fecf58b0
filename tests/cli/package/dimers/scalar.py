"""A family of tensor products: each irrep times the scalars of the other operand."""

from typing import final

import torch
from torch import Tensor

from equitensor.nn.product_contract import Family, InteractionMap, repeated
from equitensor.o3 import find_paths


def with_a_scalar(ir1, ir2, ir_out) -> str | None:
    return None if 0 in (ir1.l, ir2.l) else "one of the two must be a scalar"


@final
class ScalarInteraction(InteractionMap):
    """z_l = w (x_0 y_l + x_l y_0), w (C,)."""

    def __init__(self, irreps1, irreps2, irreps_out, channels: int) -> None:
        super().__init__()
        self.indices = find_paths("scalar", irreps1, irreps2, irreps_out, with_a_scalar)
        self.instructions = [(*index, "uuu", True) for index in self.indices]
        self.weight_numel = channels
        self.sizes = [[ir.dim for _, ir in irreps] for irreps in (irreps1, irreps2, irreps_out)]

    def initial_weight(self) -> Tensor:
        return torch.full((self.weight_numel,), 0.5**0.5)

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        first, second = x.split(self.sizes[0], dim=-2), y.split(self.sizes[1], dim=-2)
        products: list[list[Tensor]] = [[] for _ in self.sizes[2]]
        for i, j, k in self.indices:
            products[k].append(first[i] * second[j])
        z = torch.cat([torch.stack(terms).sum(0) for terms in products], dim=-2)
        return z if weight is None else z * weight.unsqueeze(-2)

    def powers(self, x: Tensor, order: int, weight: Tensor | None) -> list[Tensor]:
        return repeated(self, x, order, weight)

    def describe(self) -> str:
        return f"{len(self.indices)} paths"


FAMILY = Family(interaction=ScalarInteraction)
