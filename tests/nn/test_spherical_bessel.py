"""The spherical Bessel basis against scipy: values in float32 at small distances, derivatives, orthonormality."""

import math

import numpy as np
import torch
from scipy.special import spherical_jn

from equitensor.nn.spherical_bessel import SphericalBesselBasis
from equitensor.o3.spherical_bessel import bessel_splines, bessel_zeros
from equitensor.ops.spline import spline
from equitensor.testing import assert_close

CUTOFF, LMAX, NUM = 5.0, 6, 6


def reference(distance):
    """The same functions from scipy, and their first derivatives: two arrays (e, LMAX+1, NUM)."""
    zeros = bessel_zeros(LMAX, NUM).numpy()
    values, derivatives = [], []
    for l in range(LMAX + 1):
        norm = np.sqrt((2 * l + 1) / (4 * np.pi) * 2) / abs(spherical_jn(l + 1, zeros[l]))
        x = distance[:, None] / CUTOFF * zeros[l]
        values.append(norm * spherical_jn(l, x))
        derivatives.append(norm * spherical_jn(l, x, derivative=True) * zeros[l] / CUTOFF)
    return np.stack(values, 1), np.stack(derivatives, 1)


def test_zeros_are_those_of_the_functions():
    zeros = bessel_zeros(LMAX, NUM)
    assert_close(zeros[0], math.pi * torch.arange(1, NUM + 1, dtype=torch.float64), 1e-15, "zeros of sin(x) / x")
    for l in range(LMAX + 1):
        assert np.abs(spherical_jn(l, zeros[l].numpy())).max() < 1e-15
    assert (zeros.diff(dim=0) > 0).all() and (zeros.diff(dim=1) > 0).all()


def test_float32_is_right_to_rounding():
    """Relative to each value, not to the largest (at l = 6 and 0.05 Angstrom they are 1e-10): |f| + |x f'| allows
    for the rounding of the argument, which no way to evaluate f escapes."""
    distance = torch.linspace(0.05, CUTOFF * 0.99, 1000)
    values, derivatives = (np.abs(a) for a in reference(distance.double().numpy()))
    single = SphericalBesselBasis(CUTOFF, LMAX, NUM).float()(distance)
    assert single.dtype == torch.float32
    error = np.abs(single.numpy() - reference(distance.double().numpy())[0])
    allowed = 3 * torch.finfo(torch.float32).eps * (values + distance.numpy()[:, None, None] * derivatives)
    assert (error <= allowed).all()
    assert (error < 1e-6 * values.max(axis=0)).all()


def test_derivatives_in_float64():
    layer = SphericalBesselBasis(CUTOFF, LMAX, NUM).float().double()
    distance = torch.linspace(0.0, CUTOFF, 701, dtype=torch.float64)
    values, derivatives = (torch.from_numpy(a) for a in reference(distance.numpy()))
    functions, derivative = torch.func.jvp(layer, (distance,), (torch.ones_like(distance),))
    assert_close(functions, values, 1e-14, "values")
    assert_close(derivative[:-1], derivatives[:-1], 1e-11, "first derivatives")


def test_second_derivatives_at_zero_and_at_the_cutoff():
    """x^2 f'' + 2 x f' + (z^2 x^2 - l (l+1)) f = 0 of the spline, everywhere."""
    table, zeros = bessel_splines(LMAX, NUM), bessel_zeros(LMAX, NUM).flatten()
    x = torch.linspace(0, 0.999, 301, dtype=torch.float64)
    one = torch.ones_like(x)
    value, (derivative, curvature) = spline(x, table), _two_derivatives(lambda x: spline(x, table), x, one)
    l = torch.arange(LMAX + 1).repeat_interleave(NUM)
    x = x[:, None]
    residual = x**2 * curvature + 2 * x * derivative + (zeros**2 * x**2 - l * (l + 1)) * value
    assert (residual.abs().amax(0) < 1e-8 * curvature.abs().amax(0)).all()


def _two_derivatives(function, x, one):
    def first(x):
        return torch.func.jvp(function, (x,), (one,))[1]

    return torch.func.jvp(first, (x,), (one,))


def test_functions_of_one_degree_are_orthonormal():
    """int_0^1 f_n f_m x^2 dx = 1 where n = m, else 0, by Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(80)
    x, w = torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)
    functions = spline(x, bessel_splines(LMAX, NUM)).view(-1, LMAX + 1, NUM)
    gram = torch.einsum("e,eln,elm->lnm", w * x**2, functions, functions)
    assert_close(gram, torch.eye(NUM, dtype=torch.float64).expand_as(gram), 1e-12, "Gram matrices")
