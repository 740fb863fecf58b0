"""`Linear`: channels of each irrep mixed by a matrix, the only linear map that commutes with O(3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.nn.layout import check_kind, check_shape, feature_shape, join_irreps, split_irreps
from equitensor.o3.irreps import IrrepsLike, as_irreps


class Linear(nn.Module):
    """z_k = sum over inputs i of the same irrep of W_ik^T x_i / sqrt(number of channels that reach k).

    Outputs have unit variance for inputs and weights of unit variance. Weights (weight_numel,), or one set per item
    (..., weight_numel): one matrix (mul_in, mul_out) after another, in the order of `instructions`. This is the map
    of e3nn's `o3.Linear` with its defaults: the same `weight` and `bias` give the same values.

    Args:
        irreps_in, irreps_out: any multiplicities; for layout="channels_last" one common one each.
        biases: add the parameter `bias` (one number per 0e channel, zero at the start) to the even scalars.
        layout: "flat" takes e3nn's (..., irreps.dim), "channels_last" (..., d, C).
        internal_weights: hold the weights as the parameter `weight`, normal deviates at the start; otherwise they are
            given in the call.
    Attributes:
        instructions: (i_in, i_out) of each matrix, sorted.
    Raises:
        InputError: an output irrep that no input has, an unknown layout.
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_out: IrrepsLike,
        biases: bool = False,
        layout: str = "flat",
        internal_weights: bool = True,
    ) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out, self.layout = as_irreps(irreps_in), as_irreps(irreps_out), layout
        self.shape_in = feature_shape(self.irreps_in, layout, "irreps_in")
        self.shape_out = feature_shape(self.irreps_out, layout, "irreps_out")
        self.instructions = _same_irreps(self.irreps_in, self.irreps_out)
        self.counts, self.sizes = [mul for mul, _ in self.irreps_in], [ir.dim for _, ir in self.irreps_in]
        counts_out = [mul for mul, _ in self.irreps_out]
        self._shapes = [(self.counts[i], counts_out[k]) for i, k in self.instructions]
        fan_in = [sum(self.counts[i] for i, k in self.instructions if k == out) for out in range(len(counts_out))]
        self._scales = [fan_in[k] ** -0.5 for _, k in self.instructions]
        self.weight_numel = sum(map(math.prod, self._shapes))
        self.weight = nn.Parameter(torch.randn(self.weight_numel)) if internal_weights else None
        self._even_scalars = [k for k, (_, ir) in enumerate(self.irreps_out) if biases and ir.is_scalar()]
        self._bias_sizes = [counts_out[k] for k in self._even_scalars]
        self.bias = nn.Parameter(torch.zeros(sum(self._bias_sizes))) if self._even_scalars else None

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """x in the layout of the layer; weight (weight_numel,) or (..., weight_numel), internal if left out.

        Raises:
            InputError: shapes, dtypes or devices that do not fit; no weights anywhere.
        """
        weight = self._given(weight)
        self._check(x, weight)
        blocks = split_irreps(x, self.counts, self.sizes, self.layout)
        out: dict[int, Tensor] = {}
        matrices = weight.split([math.prod(shape) for shape in self._shapes], dim=-1)
        for (i, k), shape, scale, matrix in zip(self.instructions, self._shapes, self._scales, matrices, strict=True):
            term = blocks[i] @ (scale * matrix.unflatten(-1, shape))
            out[k] = out[k] + term if k in out else term
        if self.bias is not None:
            for k, bias in zip(self._even_scalars, self.bias.split(self._bias_sizes), strict=True):
                out[k] = out[k] + bias
        return join_irreps([out[k] for k in range(len(self.irreps_out))], self.layout)

    def weight_views(self, weight: Tensor | None = None) -> list[Tensor]:
        """The matrix (..., mul_in, mul_out) of each instruction, a view of the weights."""
        parts = self._given(weight).split([math.prod(shape) for shape in self._shapes], dim=-1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _given(self, weight: Tensor | None) -> Tensor:
        """That of the call, else the layer's own."""
        weight = self.weight if weight is None else weight
        if weight is None:
            raise InputError("Linear: made with internal_weights=False, so the call needs a weight")
        return weight

    def _check(self, x: Tensor, weight: Tensor) -> None:
        check_shape("Linear", "x", x, self.shape_in, f"{self.irreps_in}, layout {self.layout}")
        check_shape("Linear", "weight", weight, (self.weight_numel,), f"{self.irreps_in} -> {self.irreps_out}")
        check_kind("Linear", x, weight)

    def extra_repr(self) -> str:
        numel = self.weight_numel + (0 if self.bias is None else self.bias.numel())
        return f"{self.irreps_in} -> {self.irreps_out}, layout={self.layout!r}, {numel} weights"


def _same_irreps(irreps_in, irreps_out) -> list[tuple[int, int]]:
    """(i_in, i_out) of every pair with the same irrep, in e3nn's order."""
    pairs = [(i, k) for i, (_, ir) in enumerate(irreps_in) for k, (_, out) in enumerate(irreps_out) if ir == out]
    if not irreps_out.dim:
        raise InputError(f"Linear: irreps_out is '{irreps_out}': give at least one irrep")
    for k, (_, ir) in enumerate(irreps_out):
        if not any(k == out and irreps_in[i].mul for i, out in pairs):
            raise InputError(f"Linear: {ir} of irreps_out is not in irreps_in '{irreps_in}': no linear map reaches it")
    return pairs
