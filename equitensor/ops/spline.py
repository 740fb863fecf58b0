"""Functions of one variable as splines on equidistant knots."""

import torch
from torch import Tensor


def spline(x: Tensor, coefficients: Tensor) -> Tensor:
    """f_k(x) of polynomials between equidistant knots on 0 <= x <= 1: (e,) -> (e, functions), constant beyond 1.

    coefficients (intervals, functions, order): those of t^0, t^1, ... with t = intervals x - i in interval i.
    """
    intervals, _, order = coefficients.shape
    position = x.clamp(max=1) * intervals
    interval = position.detach().long().clamp(0, intervals - 1)
    t = position - interval
    powers = [torch.ones_like(t), t]
    while len(powers) < order:
        powers.append(powers[-1] * t)
    return torch.bmm(coefficients.index_select(0, interval), torch.stack(powers, dim=1).unsqueeze(2)).squeeze(2)
