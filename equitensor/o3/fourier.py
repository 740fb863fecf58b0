"""Spherical harmonics on the torus: coefficients of exp(i (u theta + v phi)) there and back, float64, exact.

Luo, Chen, Krishnapriyan, ICLR 2024. n = (sin theta sin phi, cos theta, sin theta cos phi), the polar axis is y;
theta runs over the whole circle, where every Y_lm is a trigonometric polynomial with |u| <= l and |v| = |m|.
"""

from __future__ import annotations

import math

import torch

from equitensor.o3.spherical_harmonics import spherical_harmonics


def harmonics_to_fourier(lmax: int) -> torch.Tensor:
    """y (2 lmax + 1, 2 lmax + 1, d), complex128, with Y_lm = sum_uv y[u, v, lm] exp(i (u theta + v phi)).

    u and v run from -lmax to lmax, 'integral' normalisation; zero unless |v| = |m|, |u| <= l and u = l mod 2.
    """
    steps = 2 * lmax + 1
    angle = 2 * math.pi * torch.arange(steps, dtype=torch.float64) / steps
    theta, phi = torch.meshgrid(angle, angle, indexing="ij")
    points = torch.stack([theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()], dim=-1)
    samples = spherical_harmonics(lmax, points).to(torch.complex128)
    table = torch.fft.fftshift(torch.fft.fft2(samples, dim=(0, 1), norm="forward"), dim=(0, 1))
    return torch.where(_pattern(lmax), table, 0)


def fourier_to_harmonics(lmax: int, band: int, bracket: bool = False) -> torch.Tensor:
    """z (2 band + 1, 2 lmax + 1, d), complex128: the sphere integral of Y_lm exp(i (u theta + v phi)), dense in u.

    Args:
        band: |u| <= band.
        bracket: leave out the sin(theta) of the surface element, which cancels against that of a Poisson
            bracket {f, g} = (df/dtheta dg/dphi - df/dphi dg/dtheta) / sin(theta).
    """
    forward = harmonics_to_fourier(lmax)
    orders = torch.arange(-band, band + 1)[:, None] + torch.arange(-lmax, lmax + 1)
    integrals = _integrals(orders, bracket)
    return 2 * math.pi * torch.einsum("ab,bvi->avi", integrals, forward.flip(1))


def orders_and_degrees(lmax: int) -> tuple[torch.Tensor, torch.Tensor]:
    """m and l of each of the (lmax+1)^2 harmonics."""
    l = torch.arange(lmax + 1).repeat_interleave(2 * torch.arange(lmax + 1) + 1)
    return torch.arange(len(l)) - l * (l + 1), l


def _pattern(lmax: int) -> torch.Tensor:
    m, l = orders_and_degrees(lmax)
    u = torch.arange(-lmax, lmax + 1)[:, None, None]
    v = torch.arange(-lmax, lmax + 1)[None, :, None]
    return (v.abs() == m.abs()) & (u.abs() <= l) & ((u - l) % 2 == 0)


def _integrals(k: torch.Tensor, bracket: bool) -> torch.Tensor:
    """Integral over [0, pi] of exp(i k theta), times sin(theta) unless `bracket`."""
    k = k.to(torch.float64)
    even = k % 2 == 0
    if bracket:
        real, imaginary = math.pi * (k == 0), torch.where(even, 0, 2 / torch.where(even, 1, k))
    else:
        real = torch.where(even, 2 / torch.where(even, 1 - k * k, 1), 0)
        imaginary = math.pi / 2 * k * (k.abs() == 1)
    return torch.complex(real.to(torch.float64), imaginary)
