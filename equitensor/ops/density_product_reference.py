"""The operators of `density_product` in plain torch: a pass up the powers, and back down for the gradients.

Every array has a first axis of one entry, its values, or of two, its values and their tangent (forward mode):
what multiplies two arrays is `_times`, all else is linear and takes both alike.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

PORTION = 1 << 26  # elements of an array (atoms, entries, channels)


class _Tables(NamedTuple):
    """Result, first and second operand, path and coefficient of each entry of the tensor."""

    to: Tensor
    first: Tensor
    second: Tensor
    path: Tensor
    factor: Tensor


class _Pass:
    """The powers of the densities of some atoms, and the weights of these."""

    def __init__(self, x: Tensor, rows: Tensor, mix: Tensor | None, tables: _Tables, invariants: bool) -> None:
        self.x, self.rows, self.tables, self.invariants = x, rows, tables, invariants
        self.order = rows.shape[2]
        self.mix = None if mix is None else mix[:, None, tables.path]
        self.degree = torch.tensor(
            [l for l in range(round(x.shape[2] ** 0.5)) for _ in range(2 * l + 1)], device=x.device
        )
        self.powers = [x]
        for _ in range(1, max(1, self.order - self.order // 2) if invariants else self.order):
            self.powers.append(self._product(self.powers[-1]))

    def _product(self, p: Tensor) -> Tensor:
        to, first, second, _, factor = self.tables
        terms = _times(p[:, :, first], self.x[:, :, second]) * factor
        terms = terms if self.mix is None else _times(terms, self.mix)
        return torch.zeros_like(p).index_add_(2, to, terms)

    def _pairs(self):
        """Of each order above the first (its place, the places of the two powers that make it)."""
        return [(k, (k + 1) // 2 - 1, k - (k + 1) // 2) for k in range(1, self.order)]

    def out(self) -> Tensor:
        if not self.invariants:
            terms = [_times(self.rows[:, :, k, self.degree], p) for k, p in enumerate(self.powers)]
            return functools.reduce(torch.add, terms)
        total = _times(self.rows[:, :, 0], self.x[:, :, :1])
        for k, a, b in self._pairs():
            total = total + _times(self.rows[:, :, k], self._overlap(a, b))
        return total

    def _overlap(self, a: int, b: int) -> Tensor:
        return _times(self.powers[a], self.powers[b]).sum(2, keepdim=True)

    def gradients(self, g: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """By x, the rows of weights, and for each entry of the tensor its path's weight, summed over atoms.

        None for the last where there are no weights of paths, or no powers but the first.
        """
        of_powers, of_rows = [torch.zeros_like(p) for p in self.powers], torch.zeros_like(self.rows)
        of_mix: Tensor | None = None
        (self._down_invariants if self.invariants else self._down_features)(g, of_powers, of_rows)
        to, first, second, _, factor = self.tables
        for k in range(len(self.powers) - 1, 0, -1):
            p, r = self.powers[k - 1][:, :, first], of_powers[k][:, :, to] * factor
            q = self.x[:, :, second]
            if self.mix is not None:
                of_order = _times(r, _times(p, q)).sum(1)
                of_mix = of_order if of_mix is None else of_mix + of_order
                r = _times(r, self.mix)
            of_powers[k - 1].index_add_(2, first, _times(r, q))
            of_powers[0].index_add_(2, second, _times(r, p))
        return of_powers[0], of_rows, of_mix

    def _down_features(self, g: Tensor, of_powers: list[Tensor], of_rows: Tensor) -> None:
        for k, p in enumerate(self.powers):
            of_powers[k] += _times(self.rows[:, :, k, self.degree], g)
            of_rows[:, :, k].index_add_(2, self.degree, _times(g, p))

    def _down_invariants(self, g: Tensor, of_powers: list[Tensor], of_rows: Tensor) -> None:
        of_powers[0][:, :, :1] += _times(self.rows[:, :, 0], g)
        of_rows[:, :, 0] = _times(g, self.x[:, :, :1])
        for k, a, b in self._pairs():
            weighted = _times(self.rows[:, :, k], g)
            of_powers[a] += _times(weighted, self.powers[b])
            of_powers[b] += _times(weighted, self.powers[a])
            of_rows[:, :, k] = _times(g, self._overlap(a, b))


def _times(a: Tensor, b: Tensor) -> Tensor:
    return a * b if len(a) == 1 else torch.stack([a[0] * b[0], a[0] * b[1] + a[1] * b[0]])


def values(x, weight, mix, species, index, coefficients, invariants, symmetric):
    """(n, d, C), or for invariants (n, 1, C)."""
    portions = [p.out()[0] for p, _ in _passes(_alone(x, weight, mix), species, index, coefficients, invariants)]
    return torch.cat(portions) if portions else x.new_empty(0, 1 if invariants else x.shape[1], x.shape[2])


def first(x, weight, mix, g, species, index, coefficients, invariants, symmetric, wanted):
    """The gradients; those that are not wanted are empty."""
    operands = _alone(x, weight, mix)
    gradients = _gradients(operands, g.unsqueeze(0), species, index, coefficients, invariants)
    return tuple(
        t[0] if want and t is not None else x.new_empty(0) for t, want in zip(gradients[:3], wanted, strict=True)
    )


def second(x, weight, mix, g, h_x, h_weight, h_mix, species, index, coefficients, invariants, symmetric, wanted):
    """Forward-mode derivatives (JVP) of the gradients, and that of the output."""
    tangents = (h_x, h_weight, h_mix)
    operands = [None if t is None else _dual(t, h) for t, h in zip((x, weight, mix), tangents, strict=True)]
    gradients = _gradients(operands, _dual(g, None), species, index, coefficients, invariants)
    return tuple(t[1] if want and t is not None else x.new_empty(0) for t, want in zip(gradients, wanted, strict=True))


def _alone(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if t is None else t.unsqueeze(0) for t in tensors]


def _dual(tensor: Tensor, tangent: Tensor | None) -> Tensor:
    return torch.stack([tensor, torch.zeros_like(tensor) if tangent is None else tangent])


def _passes(operands, species, index, coefficients, invariants):
    """A pass for each portion of atoms, and which these are."""
    x, weight, mix = operands
    rows = index[2].to(x.device, torch.int64)
    tables = _Tables(*rows, coefficients[2].to(x).unsqueeze(1))
    step = max(1, PORTION // max(1, rows.shape[1] * x.shape[3]))
    for start in range(0, x.shape[1], step):
        part = slice(start, start + step)
        yield _Pass(x[:, part], weight[:, species[part]], mix, tables, invariants), part


def _gradients(operands, g, species, index, coefficients, invariants) -> list[Tensor | None]:
    """By x, weight and mix, and the output."""
    x, weight, mix = operands
    of_x, of_weight, of_mix = (
        torch.zeros_like(x),
        torch.zeros_like(weight),
        None if mix is None else torch.zeros_like(mix),
    )
    out = torch.zeros_like(g)
    for powers, part in _passes(operands, species, index, coefficients, invariants):
        of_x[:, part], of_rows, of_entries = powers.gradients(g[:, part])
        of_weight.index_add_(1, species[part], of_rows)
        if of_mix is not None and of_entries is not None:
            of_mix.index_add_(1, powers.tables.path, of_entries)
        out[:, part] = powers.out()
    return [of_x, of_weight, of_mix, out]
