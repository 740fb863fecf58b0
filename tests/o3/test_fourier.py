import math

import pytest
import torch

from equitensor import testing
from equitensor.o3 import spherical_harmonics
from equitensor.o3.fourier import fourier_to_harmonics, harmonics_to_fourier, orders_and_degrees


def torus_points(theta, phi):
    return torch.stack([theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()], dim=-1)


@pytest.mark.parametrize("lmax", [0, 1, 3, 10])
def test_series_is_the_harmonic(lmax):
    theta, phi = 2 * math.pi * torch.rand(2, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = torch.arange(-lmax, lmax + 1)
    table = harmonics_to_fourier(lmax)
    series = torch.einsum("qu,qv,uvi->qi", torch.exp(1j * theta[:, None] * u), torch.exp(1j * phi[:, None] * u), table)
    testing.assert_close(series.real, spherical_harmonics(lmax, torus_points(theta, phi)), 1e-13)
    assert float(series.imag.abs().max()) < 1e-13


def test_zero_pattern():
    table, (m, l) = harmonics_to_fourier(4), orders_and_degrees(4)
    u, v, i = table.nonzero().T
    assert ((v - 4).abs() == m[i].abs()).all()
    assert (((u - 4) - l[i]) % 2 == 0).all()
    counts = [int((harmonics_to_fourier(lmax).abs() > 1e-14).sum()) for lmax in (1, 2, 3, 4)]
    assert counts == [11, 34, 86, 163]  # of 36, 225, 784, 2025


@pytest.mark.parametrize("band", [3, 6])
def test_way_back_undoes_the_series(band):
    forward = harmonics_to_fourier(3)
    inner = slice(band - 3, band + 4)
    back = fourier_to_harmonics(3, band)
    testing.assert_close(torch.einsum("uvi,uvj->ij", forward, back[inner]).real, torch.eye(16, dtype=torch.float64))
    assert int((back[:, 3].abs() > 1e-14).sum()) > (2 * band + 1)  # dense in u
