"""The Gaunt product in the Fourier basis as constant tables, one small matrix per order |m|."""

from __future__ import annotations

from typing import NamedTuple

import torch

from equitensor.o3.fourier import fourier_to_harmonics, harmonics_to_fourier
from equitensor.o3.signals import SignalTerm, signal, signal_terms


class OrderTable(NamedTuple):
    """Components gathered by order |m|: index (V, K), and a matrix per order, zero where K is padded.

    To coefficients: matrix (V, 2 T U, K), real parts before imaginary ones, T terms, u in the order of an FFT.
    From coefficients: matrix (V, K, 2 T U), and indices (d,) are where each component lies in (V, K).
    """

    indices: torch.Tensor
    matrix: torch.Tensor


class FourierTables(NamedTuple):
    """Both operands, the output, the torus samples (theta, phi), and the number of terms."""

    first: OrderTable
    second: OrderTable
    out: OrderTable
    samples: tuple[int, int]
    terms: int


class _Term(NamedTuple):
    """A product of samples; kinds name the derivatives of the operands and the integral of the output."""

    signals: SignalTerm
    first: str
    second: str
    out: str
    sign: float


def fourier_tables(irs1, irs2, irs_out, odd: bool = False) -> FourierTables:
    """Tables of the Gaunt product of irreps (sequences of e3nn Irrep), with `odd` also of the Poisson bracket.

    Without aliasing: 2 (L1 + L2) + 1 samples in theta, where the way back is dense, and L1 + L2 + L3 + 1 in phi,
    each raised to a product of 2, 3 and 5.
    """
    l1, l2, l3 = (max((ir.l for ir in irs), default=0) for irs in (irs1, irs2, irs_out))
    samples = (_fast(2 * (l1 + l2) + 1), _fast(max(l1 + l2 + l3, 2 * l1, 2 * l2, 2 * l3) + 1))
    terms = [_Term(t, "value", "value", "value", 1.0) for t in signal_terms(irs1, irs2, irs_out)]
    for t in signal_terms(irs1, irs2, irs_out, bracket=True) if odd else []:
        terms += [_Term(t, "theta", "phi", "bracket", 1.0), _Term(t, "phi", "theta", "bracket", -1.0)]
    first = _operand(irs1, l1, samples[0], [(t.first, t.signals.first, 1.0) for t in terms])
    second = _operand(irs2, l2, samples[0], [(t.second, t.signals.second, 1.0) for t in terms])
    out = _output(irs_out, l3, l1 + l2, samples[0], [(t.out, t.signals.out, t.sign) for t in terms])
    return FourierTables(first, second, out, samples, len(terms))


def _operand(irs, lmax: int, size: int, terms: list) -> OrderTable:
    forward = harmonics_to_fourier(lmax)
    orders = torch.arange(-lmax, lmax + 1)
    kinds = {"value": forward, "theta": 1j * orders[:, None, None] * forward, "phi": 1j * orders[:, None] * forward}
    index, matrix = _gather(irs, lmax, size, terms, kinds)
    return OrderTable(index, matrix.transpose(1, 2).contiguous())


def _output(irs, lmax: int, band: int, size: int, terms: list) -> OrderTable:
    kinds = {name: fourier_to_harmonics(lmax, band, name == "bracket") for name in ("value", "bracket")}
    index, matrix = _gather(irs, lmax, size, terms, kinds)
    # z = Re sum_u F_u0 B_u0 + 2 Re sum_u F_uv B_uv, with the real and the imaginary part of F side by side.
    matrix[1:] *= 2
    matrix[..., matrix.shape[2] // 2 :] *= -1
    return OrderTable(_positions(index, irs), matrix)


def _gather(irs, lmax: int, size: int, terms: list, kinds: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Index (V, K) and matrix (V, K, 2 T size) from tables (u, v, lm) for v = 0 .. lmax."""
    components = [(ir, m) for ir in irs for m in range(-ir.l, ir.l + 1)]
    by_order = [[c for c, (_, m) in enumerate(components) if abs(m) == v] for v in range(lmax + 1)]
    width = max((len(entries) for entries in by_order), default=0)
    index = torch.zeros(lmax + 1, width, dtype=torch.long)
    matrix = torch.zeros(lmax + 1, width, 2, len(terms), size, dtype=torch.float64)
    for v, entries in enumerate(by_order):
        for k, c in enumerate(entries):
            ir, m = components[c]
            index[v, k] = c
            for t, (kind, factors, sign) in enumerate(terms):
                column = kinds[kind][:, lmax + v, ir.l * (ir.l + 1) + m]
                factor = sign * factors[0 if signal(ir) == 1 else 1]
                matrix[v, k, :, t] = factor * _fft_order(torch.view_as_real(column).T, size)
    return index, matrix.flatten(2)


def _fft_order(rows: torch.Tensor, size: int) -> torch.Tensor:
    """(2, 2 band + 1), u from -band to band, to (2, size): 0, 1, ... with the negative ones at the end."""
    band = rows.shape[1] // 2
    placed = rows.new_zeros(2, size)
    placed[:, torch.arange(-band, band + 1) % size] = rows
    return placed


def _positions(index: torch.Tensor, irs) -> torch.Tensor:
    """Where each component lies in the flattened (V, K): components of order v fill row v from the left."""
    seen = [0] * index.shape[0]
    positions = []
    for m in (m for ir in irs for m in range(-ir.l, ir.l + 1)):
        positions.append(abs(m) * index.shape[1] + seen[abs(m)])
        seen[abs(m)] += 1
    return torch.tensor(positions, dtype=torch.long)


def _fast(size: int) -> int:
    """The next product of 2, 3 and 5, for which FFTs are quick."""
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
