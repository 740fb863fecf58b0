"""The Gaunt product by FFT: coefficients on the torus, convolved through samples, and back.

Features are components last, (N, d), items and channels together in N. A table gathers the components by order
|m|, one matrix product per order gives the coefficients of exp(i (u theta + v phi)), v >= 0, and a real FFT does
the rest. Derivatives are FFTs again.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_torus(x: Tensor, index: Tensor, matrix: Tensor, samples: tuple[int, int]) -> Tensor:
    """Samples (N, T, phi, theta) of x (N, d); index (V, K), matrix (V, 2 T theta, K), samples (theta, phi)."""
    if x.shape[0] == 0:  # FFTs refuse to do nothing
        return x[:, :1, None, None].expand(0, matrix.shape[1] // (2 * samples[0]), samples[1], samples[0])
    gathered = x.index_select(1, index.flatten()).unflatten(1, index.shape)
    coefficients = gathered.transpose(0, 1).bmm(matrix.transpose(1, 2)).unflatten(2, (2, -1, samples[0]))
    spectrum = torch.complex(coefficients[:, :, 0], coefficients[:, :, 1]).permute(1, 2, 0, 3)
    return torch.fft.irfftn(spectrum, s=samples, dim=(3, 2), norm="forward")


def from_torus(values: Tensor, index: Tensor, matrix: Tensor) -> Tensor:
    """Integrals (N, d) of samples (N, T, phi, theta); index (d,), matrix (V, K, 2 T theta)."""
    if values.shape[0] == 0:
        return values[:, 0, 0, :1].expand(0, len(index))
    spectrum = torch.fft.rfftn(values, dim=(3, 2), norm="forward")[:, :, : matrix.shape[0]]
    coefficients = torch.stack([spectrum.real, spectrum.imag], dim=1).permute(3, 0, 1, 2, 4).flatten(2)
    return coefficients.bmm(matrix.transpose(1, 2)).transpose(0, 1).flatten(1).index_select(1, index)
