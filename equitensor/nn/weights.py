"""The trainable weights of the message-passing layers: matrices, one per degree, and tables, one row per element."""

import math

import torch
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.ops.degree_linear import degree_linear


def matrix(fan_in: int, fan_out: int, *stack: int, gain: float = 1.0) -> nn.Parameter:
    """(*stack, fan_in, fan_out) normal weights that keep the variance of what they multiply, times gain^2."""
    return nn.Parameter(torch.randn(*stack, fan_in, fan_out) * (gain / math.sqrt(fan_in)))


def begin_block(weight: Tensor, known: Tensor, acts: bool) -> None:
    """Make `known` the first block of a weight that is at least as large in every dimension.

    acts: it is a stack of matrices, of which what is new in the input does not act on the first block of the output.
    Raises InputError where `known` does not fit in.
    """
    if weight.dim() != known.dim() or any(size < own for size, own in zip(weight.shape, known.shape, strict=True)):
        raise InputError(f"weights of shape {tuple(known.shape)} are no block of {tuple(weight.shape)}")
    if acts:
        weight[..., known.shape[-2] :, : known.shape[-1]] = 0.0
    weight[tuple(map(slice, known.shape))] = known


class ElementTable(nn.Module):
    """A row (shape) of weights per element, looked up by species (n,) -> (n, *shape).

    Not a matrix that acts on anything: matrix-whitening optimisers leave it to Adam.
    """

    def __init__(self, num_elements: int, *shape: int, std: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_elements, *shape) * std)

    def forward(self, species: Tensor) -> Tensor:
        return self.weight.index_select(0, species)

    def extra_repr(self) -> str:
        return " x ".join(map(str, self.weight.shape))


class DegreeLinear(nn.Module):
    """Mixes channels with one matrix per degree: (n, (L+1)^2, C_in) -> (n, (L+1)^2, C_out), equivariant."""

    def __init__(self, lmax: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = matrix(channels_in, channels_out, lmax + 1)

    def forward(self, x: Tensor, factor: Tensor | None = None) -> Tensor:
        """`factor` (lmax+1, 1, 1) multiplies the matrices of each degree."""
        return degree_linear(x, self.weight if factor is None else self.weight * factor)

    def extra_repr(self) -> str:
        return " x ".join(map(str, self.weight.shape))


def degree_of_components(lmax: int) -> Tensor:
    """((lmax+1)^2,) the degree of each component lm: 0, 1, 1, 1, 2, ..."""
    return torch.arange(lmax + 1).repeat_interleave(2 * torch.arange(lmax + 1) + 1)
