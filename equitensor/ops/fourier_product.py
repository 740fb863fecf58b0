"""The Gaunt product by FFT: coefficients on the torus, convolved through samples, and back.

Features are components first, (d, N), with items and channels together in N. A table gathers the components by
order |m|, one matrix product per order gives the coefficients of exp(i (u theta + v phi)), v >= 0, and a real FFT
does the rest. Derivatives are FFTs again.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_torus(x: Tensor, index: Tensor, matrix: Tensor, samples: tuple[int, int]) -> Tensor:
    """Samples (phi, T, theta, N) of x (d, N); index (V, K), matrix (V, 2 T theta, K), samples (theta, phi)."""
    if x.shape[1] == 0:  # FFTs refuse to do nothing
        return x[:1].expand(samples[1], matrix.shape[1] // (2 * samples[0]), samples[0], 0)
    gathered = x.index_select(0, index.flatten()).unflatten(0, index.shape)
    coefficients = matrix.bmm(gathered).unflatten(1, (2, -1, samples[0]))
    spectrum = torch.complex(coefficients[:, 0], coefficients[:, 1])
    return torch.fft.irfftn(spectrum, s=samples, dim=(2, 0), norm="forward")


def from_torus(values: Tensor, index: Tensor, matrix: Tensor) -> Tensor:
    """Integrals (d, N) of samples (phi, T, theta, N); index (d,), matrix (V, K, 2 T theta)."""
    if values.shape[3] == 0:
        return values[0, 0, :1].expand(len(index), 0)
    spectrum = torch.fft.rfftn(values, dim=(2, 0), norm="forward")[: matrix.shape[0]]
    coefficients = torch.cat([spectrum.real, spectrum.imag], dim=1).flatten(1, 2)
    return matrix.bmm(coefficients).flatten(0, 1).index_select(0, index)
