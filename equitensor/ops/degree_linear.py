"""One matrix per degree on the channels of features (n, (L+1)^2, C): closed under differentiation."""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.extension import compiled


def degree_linear(x: Tensor, weight: Tensor) -> Tensor:
    """y_lm = x_lm W_l: (n, (L+1)^2, C_out) of x (n, (L+1)^2, C_in) and weight (L+1, C_in, C_out)."""
    if compiled(x, weight):
        return torch.ops.equitensor.degree_linear(x, weight, False)
    return degree_linear_reference(x, weight)


def degree_linear_reference(x: Tensor, weight: Tensor) -> Tensor:
    degree = torch.arange(len(weight), device=x.device)
    matrices = weight.index_select(0, degree.repeat_interleave(2 * degree + 1, output_size=x.shape[1]))
    # Components outside, atoms inside: (L+1)^2 products of (n, C_in) with (C_in, C_out).
    return torch.bmm(x.transpose(0, 1), matrices).transpose(0, 1).contiguous()
