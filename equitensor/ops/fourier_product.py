"""The Gaunt product by FFT: coefficients on the torus, convolved through samples, and back.

Features are channels-last (n, d, C). A table gathers the components by order |m|, one matrix product per order
gives the coefficients exp(i u theta) exp(i v phi) for v >= 0, and a real FFT does the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_torus(x: Tensor, index: Tensor, matrix: Tensor, samples: tuple[int, int], terms: int) -> Tensor:
    """Samples (n, phi, T, theta, C) of x (n, d, C); index (V, K), matrix (V, 2 T theta, K)."""
    gathered = x.index_select(1, index.flatten()).unflatten(1, index.shape)
    coefficients = (matrix @ gathered).unflatten(2, (2, terms, samples[0]))
    spectrum = torch.complex(coefficients[:, :, 0], coefficients[:, :, 1])
    return torch.fft.irfftn(spectrum, s=samples, dim=(3, 1), norm="forward")


def from_torus(values: Tensor, index: Tensor, matrix: Tensor) -> Tensor:
    """Integrals (n, d, C) of samples (n, phi, T, theta, C); index (d,), matrix (V, K, 2 T theta)."""
    spectrum = torch.fft.rfftn(values, dim=(3, 1), norm="forward")[:, : matrix.shape[0]]
    coefficients = torch.cat([spectrum.real, spectrum.imag], dim=2).flatten(2, 3)
    return (matrix @ coefficients).flatten(1, 2).index_select(1, index)
