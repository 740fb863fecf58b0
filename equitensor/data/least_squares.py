"""E0s out of energies: least squares with a ridge as strong as the data ask for, and what they leave open."""

import numpy as np

_ROUNDS, _ZERO = 100, 1e-10


def ridge(counts: np.ndarray, energies: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """E0s (elements,) in eV: of compositions `counts` (m, elements) with `energies` (m,) that weigh `weights` (m,).

    Minimises sum_c w_c (E_c - n_c . E0)^2 / n_c^2 + lambda |E0 - mean|^2: energies per atom, pulled to their mean, with
    lambda = noise / spread as the evidence has both (MacKay, Neural Comput. 4, 415): 0 where the fit is exact. So a
    rare element does not take all that is left over of its few structures, and what the compositions do not determine
    stays at the mean.
    """
    atoms = counts.sum(axis=1)
    mean = float(np.average(energies / atoms, weights=weights))
    root = np.sqrt(weights / weights.mean())
    u, s, vt = np.linalg.svd(counts / atoms[:, None] * root[:, None], full_matrices=False)
    target = (energies / atoms - mean) * root
    kept = s > _ZERO * s.max()
    s, vt, along = s[kept], vt[kept], (u.T @ target)[kept]
    beyond = max(float(target @ target - along @ along), 0.0)  # what no E0s explain
    exact = _ZERO * float(target @ target)
    strength = 0.0 if beyond <= exact else 1e-3 * s.max() ** 2
    for _ in range(_ROUNDS if strength else 0):
        solution = s * along / (s**2 + strength)
        used = float(np.sum(s**2 / (s**2 + strength)))
        noise = (beyond + float(np.sum((along - s * solution) ** 2))) / max(len(target) - used, 1e-3)
        before, strength = strength, noise * used / max(float(solution @ solution), 1e-30)
        if abs(strength - before) < 1e-6 * strength:
            break
    return mean + vt.T @ (s * along / (s**2 + strength))


def undetermined(counts: np.ndarray) -> tuple[int, np.ndarray]:
    """How many combinations of E0s the compositions leave open, and (elements,) bool: those that take part in one."""
    _, s, vt = np.linalg.svd(counts, full_matrices=True)
    rank = int(np.sum(s > _ZERO * s.max()))
    return counts.shape[1] - rank, (np.abs(vt[rank:]) > 1e-8).any(axis=0)
