"""E0s out of energies: least squares with a prior as strong as the data ask for, and what they leave open."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

_ZERO, _SMALLEST = 1e-10, 1e-6
_USUAL_NOISE, _USUAL_SPREAD, _WIDTH = np.log(0.3), np.log(3.0), 2.0  # eV per atom; factor e^2 either way
_FURTHEST = 20.0  # logarithm
_IMPOSSIBLE = 1e12  # evidence that rounding spoils
_LEFT_OUT = 1000  # compositions, evenly spaced


@dataclass(frozen=True)
class Fit:
    """values: E0s (elements,) in eV; unseen: RMS distance in eV per atom of energies of compositions from a fit to the
    others, over those whose elements others hold; None where there are none."""

    values: np.ndarray
    unseen: float | None


def ridge(counts: np.ndarray, energies: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """E0s (elements,) in eV, as `fit` has them where all elements are alike in nothing."""
    return fit(counts, energies, weights, [np.eye(counts.shape[1])]).values


def fit(counts: np.ndarray, energies: np.ndarray, weights: np.ndarray, covariances: Sequence[np.ndarray]) -> Fit:
    """E0s in eV: of compositions `counts` (m, elements) with `energies` (m,) that weigh `weights` (m,).

    Minimises sum_c w_c (E_c - n_c . E0)^2 / (n_c^2 s^2) + (E0 - mean) C^-1 (E0 - mean), C = sum_k a_k^2 C_k: energies
    per atom, and E0s that spread about a free mean as the `covariances` C_k (elements, elements) say. s, what of an
    energy per atom no E0s explain, and a_k have the largest evidence (MacKay, Neural Comput. 4, 415) times broad
    log-normal priors about 0.3 and 3 eV; where more compositions than E0s agree to the last digit, s is 0. So a rare
    element does not take all that is left over of its few structures, E0s of opposite signs do not fit what is no
    matter of composition, and what compositions leave open is as likely as the covariances make it.
    """
    atoms = counts.sum(axis=1)
    mean = float(np.average(energies / atoms, weights=weights))
    root = np.sqrt(weights / weights.mean())
    x, y = counts / atoms[:, None] * root[:, None], (energies / atoms - mean) * root
    if float(y @ y) <= _ZERO**2 * max(mean**2, _ZERO):
        return Fit(np.full(counts.shape[1], mean), None)
    scaled = [c * len(c) / np.trace(c) for c in covariances]
    spreads, noise = _most_likely(x, y, scaled)
    prior = sum(a**2 * c for a, c in zip(spreads, scaled, strict=True))
    q, r = np.linalg.qr(x)
    inverse, shift = _without_mean(r @ prior @ r.T + noise**2 * np.eye(len(r)), r.sum(axis=1))
    values = shift @ (q.T @ y) + prior @ r.T @ (inverse @ (q.T @ y))
    exact, _, rank, _ = np.linalg.lstsq(x, y - x @ values, rcond=_ZERO)
    left = y - x @ (values + exact)
    if len(y) > rank and float(left @ left) <= _ZERO * float(y @ y):
        values = values + exact
    return Fit(mean + values, _left_out(x, y, root, counts > 0, prior, max(noise, _SMALLEST)))


def undetermined(counts: np.ndarray) -> tuple[int, np.ndarray]:
    """How many combinations of E0s the compositions leave open, and (elements,) bool: those that take part in one."""
    _, s, vt = np.linalg.svd(counts, full_matrices=True)
    rank = int(np.sum(s > _ZERO * s.max()))
    return counts.shape[1] - rank, (np.abs(vt[rank:]) > 1e-8).any(axis=0)


def _most_likely(x: np.ndarray, y: np.ndarray, covariances: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """Standard deviations of the covariances and of the noise, eV per atom: those of the largest evidence."""
    q, r = np.linalg.qr(x)
    short = q.T @ y  # all that E0s can explain; what they cannot is noise
    beyond, rest = max(float(y @ y - short @ short), 0.0), len(y) - len(short)
    parts, ones = [r @ c @ r.T for c in covariances], r.sum(axis=1)
    usual = np.array([_USUAL_SPREAD] * len(parts) + [_USUAL_NOISE])
    lowest = np.log(_SMALLEST * np.sqrt(float(y @ y) / len(y)))

    def surprise(p: np.ndarray) -> float:
        among = sum(np.exp(2 * a) * part for a, part in zip(p, parts, strict=False)) + np.exp(2 * p[-1]) * np.eye(
            len(r)
        )
        try:
            root = np.linalg.cholesky(among)
        except np.linalg.LinAlgError:
            return _IMPOSSIBLE
        u, v = np.linalg.solve(root, short), np.linalg.solve(root, ones)
        loss = 2 * np.log(np.diag(root)).sum() + np.log(v @ v) + u @ u - (u @ v) ** 2 / (v @ v)
        loss += rest * 2 * p[-1] + beyond * np.exp(-2 * p[-1])
        return 0.5 * float(loss + np.sum(((p - usual) / _WIDTH) ** 2))

    bounds = [(-_FURTHEST, _FURTHEST)] * len(parts) + [(lowest, _FURTHEST)]
    scale = np.log(np.sqrt(float(y @ y) / len(y)))
    starts = (usual, np.array([max(scale, _USUAL_SPREAD)] * len(parts) + [max(lowest, scale - 3)]))
    best = min((minimize(surprise, start, method="L-BFGS-B", bounds=bounds) for start in starts), key=lambda f: f.fun)
    return np.exp(best.x[:-1]), float(np.exp(best.x[-1]))


def _without_mean(among: np.ndarray, ones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of a covariance less what a free mean, which adds `ones`, takes; the row that gives this mean."""
    solved = np.linalg.solve(among, np.column_stack([np.eye(len(among)), ones]))
    inverse, solved_ones = solved[:, :-1], solved[:, -1]
    return inverse - np.outer(solved_ones, solved_ones) / (ones @ solved_ones), solved_ones / (ones @ solved_ones)


def _left_out(x, y, root, holds, prior, noise) -> float | None:
    """`Fit.unseen`, in closed form (Rasmussen and Williams 2006, 5.12)."""
    known = holds.sum(axis=0) > 1
    judged = ~(holds & ~known).any(axis=1)
    some = np.unique(np.linspace(0, len(y) - 1, min(len(y), _LEFT_OUT)).astype(int))
    if not judged[some].any():
        return None
    x, y, root = x[some], y[some], root[some]
    inverse, _ = _without_mean(x @ prior @ x.T + noise**2 * np.eye(len(x)), root)
    missed = (inverse @ y / np.maximum(np.diag(inverse), np.finfo(float).tiny) / root)[judged[some]]
    return float(np.sqrt(np.mean(missed**2)))
