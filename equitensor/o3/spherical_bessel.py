"""Spherical Bessel functions that vanish at the cutoff: zeros, normalisation, and splines of them, in float64.

DimeNet's radial functions are sqrt(2) / |j_{l+1}(z_ln)| j_l(z_ln x), x = d / cutoff, z_ln the n-th zero of j_l.
Written out with sines and cosines they lose all digits at small x (a tenth of the value at l = 6 in float32), so
they are tabulated: polynomials of degree 5 between equidistant knots, value and two derivatives exact at each.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

KNOTS_PER_RADIAN = 40  # the polynomials then differ from the functions by 1e-14


def spherical_bessel(lmax: int, x: np.ndarray) -> np.ndarray:
    """j_l(x) and its first two derivatives for l = 0..lmax and x >= 0: (3, lmax+1, *x.shape)."""
    from scipy.special import spherical_jn

    orders = [np.stack([spherical_jn(l, x) for l in range(lmax + 3)])]
    for _ in range(2):
        orders.append(_derivative(orders[-1]))
    return np.stack([values[: lmax + 1] for values in orders])


def _derivative(values: np.ndarray) -> np.ndarray:
    """(2l+1) j_l' = l j_{l-1} - (l+1) j_{l+1}: no division by x. One degree is lost."""
    l = np.arange(len(values) - 1).reshape(-1, *[1] * (values.ndim - 1))
    below = np.concatenate([values[:1], values[:-2]])
    return (l * below - (l + 1) * values[1:]) / (2 * l + 1)


@cache
@torch.inference_mode(False)  # what is kept must serve training too
def bessel_zeros(lmax: int, num: int) -> Tensor:
    """z_ln, the first `num` positive zeros of j_l for l = 0..lmax: (lmax+1, num)."""
    from scipy.optimize import brentq
    from scipy.special import spherical_jn

    zeros = [np.pi * np.arange(1, num + lmax + 1)]
    for l in range(1, lmax + 1):  # the zeros of j_l lie between those of j_{l-1}
        pairs = zip(zeros[-1][:-1], zeros[-1][1:], strict=True)
        of_degree = [brentq(lambda x, l=l: spherical_jn(l, x), a, b, xtol=1e-14, rtol=1e-15) for a, b in pairs]
        zeros.append(np.array(of_degree))
    return torch.from_numpy(np.stack([z[:num] for z in zeros]))


@cache
@torch.inference_mode(False)  # what is kept must serve training too
def bessel_splines(lmax: int, num: int) -> Tensor:
    """sqrt(2) / |j_{l+1}(z_ln)| j_l(z_ln x) on 0 <= x <= 1, as splines: (intervals, (lmax+1) num, 6).

    Row i holds the coefficients of t^0 .. t^5, t = intervals x - i; functions in the order ln, n fastest.
    """
    zeros = bessel_zeros(lmax, num).numpy()
    intervals = math.ceil(KNOTS_PER_RADIAN * zeros.max())
    knots = np.linspace(0, 1, intervals + 1)
    tables = [_at_knots(l, zeros[l], knots) for l in range(lmax + 1)]
    values, first, second = np.concatenate(tables, axis=2)
    return torch.from_numpy(_hermite(values, first / intervals, second / intervals**2))


def _at_knots(l: int, zeros: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Value, first and second derivative w.r.t. x of the functions of degree l: (3, knots, num)."""
    norm = math.sqrt(2) / np.abs(spherical_bessel(l + 1, zeros)[0, l + 1])
    functions = spherical_bessel(l, knots[:, None] * zeros)[:, l]
    return functions * norm * zeros ** np.arange(3)[:, None, None]


def _hermite(f: np.ndarray, d: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Coefficients (intervals, functions, 6) from values, first and second derivatives (knots, functions)."""
    f0, f1, d0, d1, s0, s1 = f[:-1], f[1:], d[:-1], d[1:], s[:-1] / 2, s[1:] / 2
    of_values, of_first, of_second = f1 - f0 - d0 - s0, d1 - d0 - 2 * s0, s1 - s0
    cubic = 10 * of_values - 4 * of_first + of_second
    quartic = -15 * of_values + 7 * of_first - 2 * of_second
    quintic = 6 * of_values - 3 * of_first + of_second
    return np.stack([f0, d0, s0, cubic, quartic, quintic], axis=-1)
