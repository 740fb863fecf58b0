"""Wigner 3j symbols: exact by Racah's formula in integers, then in the real basis, float64, any degree."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache, lru_cache

import torch

from equitensor.errors import InputError

CONVENTION = "e3nn-0.6"  # order, signs and norm of everything in o3; stored in every model file

_HALF = math.sqrt(0.5)


def wigner_3j(l1: int, l2: int, l3: int) -> torch.Tensor:
    """Real invariant coupling tensor (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), float64, Frobenius norm 1.

    W is unchanged by a cyclic permutation of the degrees with their axes; a swap gives (-1)^(l1 + l2 + l3).
    Sign: the sphere integral of Y Y Y (even sum) or Y n.(grad Y x grad Y) (odd sum) is a positive multiple.

    Raises:
        InputError: unless |l1 - l2| <= l3 <= l1 + l2.
    """
    if not triangle(l1, l2, l3):
        raise InputError(f"no coupling of degrees {l1}, {l2} to {l3}: need |l1 - l2| <= l3 <= l1 + l2")
    return _wigner_3j(l1, l2, l3).clone()


def triangle(l1: int, l2: int, l3: int) -> bool:
    """Whether degrees l1 and l2 can couple to l3."""
    return min(l1, l2, l3) >= 0 and abs(l1 - l2) <= l3 <= l1 + l2


@lru_cache(maxsize=4096)
def wigner_3j_symbol(l1: int, l2: int, l3: int, m1: int, m2: int, m3: int) -> float:
    """The 3j symbol of complex harmonics (Condon-Shortley), correctly rounded from its exact square.

    Racah's formula: a square root of a rational times an alternating sum of rationals, both exact.
    """
    if m1 + m2 + m3 != 0 or not triangle(l1, l2, l3) or abs(m1) > l1 or abs(m2) > l2 or abs(m3) > l3:
        return 0.0
    total = _racah_sum(l1, l2, l3, m1, m2)
    square = _triangle_coefficient(l1, l2, l3) * total * total
    for l, m in ((l1, m1), (l2, m2), (l3, m3)):
        square *= math.factorial(l + m) * math.factorial(l - m)
    sign = (-1) ** (l1 - l2 - m3) * (1 if total > 0 else -1)
    return sign * math.sqrt(square)


def _racah_sum(l1: int, l2: int, l3: int, m1: int, m2: int) -> Fraction:
    lowest = max(0, l2 - l3 - m1, l1 - l3 + m2)
    highest = min(l1 + l2 - l3, l1 - m1, l2 + m2)
    total = Fraction(0)
    for k in range(lowest, highest + 1):
        terms = (k, l1 + l2 - l3 - k, l1 - m1 - k, l2 + m2 - k, l3 - l2 + m1 + k, l3 - l1 - m2 + k)
        total += Fraction((-1) ** k, math.prod(math.factorial(t) for t in terms))
    return total


@cache
def _triangle_coefficient(l1: int, l2: int, l3: int) -> Fraction:
    f = math.factorial
    return Fraction(f(l1 + l2 - l3) * f(l1 - l2 + l3) * f(l2 + l3 - l1), f(l1 + l2 + l3 + 1))


@lru_cache(maxsize=1024)
@torch.inference_mode(False)  # what is kept must serve training too
def _wigner_3j(l1: int, l2: int, l3: int) -> torch.Tensor:
    """Fill the entries that can be non-zero: |c| is |a| + |b| or their difference."""
    tensor = torch.zeros(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, dtype=torch.float64)
    phase = 1j ** ((l1 + l2 + l3) % 4)
    for a in range(-l1, l1 + 1):
        for b in range(-l2, l2 + 1):
            for c in {a + b, a - b, b - a, -a - b}:
                if abs(c) <= l3:
                    value = phase * _real_entry((l1, l2, l3), (a, b, c))
                    tensor[l1 + a, l2 + b, l3 + c] = value.real
    return tensor


def _real_entry(degrees: tuple, orders: tuple) -> complex:
    """Complex-basis sum for one entry in the real basis."""
    total = 0j
    expansions = [_complex_expansion(m) for m in orders]
    for m1, u1 in expansions[0]:
        for m2, u2 in expansions[1]:
            for m3, u3 in expansions[2]:
                if m1 + m2 + m3 == 0:
                    total += u1 * u2 * u3 * wigner_3j_symbol(*degrees, m1, m2, m3)
    return total


def _complex_expansion(m: int) -> tuple[tuple[int, complex], ...]:
    """(m', conj U) with real Y_m = sum U Y_m': cosine for m > 0, sine for m < 0, no Condon-Shortley phase."""
    if m == 0:
        return ((0, 1 + 0j),)
    sign = (-1) ** abs(m)
    if m > 0:
        return ((m, sign * _HALF + 0j), (-m, _HALF + 0j))
    return ((-m, 1j * sign * _HALF), (m, -1j * _HALF))
