"""Fits the shipped CP factors: `python -m equitensor.o3.cp_search [NAME ...]` (all: twenty minutes of one core).

Writes cp_factors.npz beside this file and prints rank, coupling error and equivariance error. NAME is such as
lmax2_rank28 or lmax2_chosen; with names, the others stay as they are.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch

from equitensor.o3.cp import CPFactors, all_degrees, path_tensors
from equitensor.o3.cp_cyclic import fit_from_cyclic
from equitensor.o3.cp_fit import cancellation, fit_cp
from equitensor.o3.cp_grid import balanced_degrees
from equitensor.o3.cp_table import CHOSEN_RANKS, FACTORS_FILE, UNIT_RANKS, chosen_name, unit_name
from equitensor.o3.paths import find_paths
from equitensor.o3.wigner import wigner_3j

RIDGE = 1e-7  # for ranks below the exact one
# (lmax, rank): starts and steps below the exact rank, where fits crawl.
EFFORT = {
    (1, 7): (6, 300),
    (2, 24): (10, 300),
    (2, 28): (12, 300),
    (2, 29): (10, 300),
}
# (lmax, rank): symmetric terms, seed and steps of `fit_from_cyclic`; the seeds are the best of 0 to 16 and 0 to 5.
CYCLIC = {(3, 63): (18, 9, 300), (3, 76): (22, 5, 120)}


def chosen_weights(lmax: int) -> torch.Tensor:
    """Path weights near one in magnitude for which the tensor has a low exact rank.

    lmax 1: kappa = (w_000 w_111^2 / 6) / (w_011 w_101 w_110 / (3 sqrt 3)), which rescaling degrees leaves alone, is
    brought to 1 by the smallest change. lmax 2: the algebra of real 3x3 matrices, tr(X Y Z) (scalar, antisymmetric
    and symmetric traceless part), degrees rescaled.
    """
    paths = find_paths("cp", *all_degrees(lmax))
    if lmax == 1:
        step = math.log(2 / math.sqrt(3)) / 8  # -log kappa of unit weights over the sum of squared exponents
        return torch.tensor([math.exp(step * {0: 1, 2: -1, 3: 2}[sum(path)]) for path in paths], dtype=torch.float64)
    basis = torch.cat([math.sqrt(2 * l + 1) * wigner_3j(1, 1, l).permute(2, 0, 1) for l in range(3)])
    trace = torch.einsum("iab,jbc,kca->ijk", basis, basis, basis)
    weights = torch.einsum("pijk,ijk->p", path_tensors(*all_degrees(lmax)), trace)
    inner, outer = balanced_degrees(paths, weights.abs())
    return weights * torch.stack([inner[i] * inner[j] * outer[k] for i, j, k in paths])


def fit(name: str) -> CPFactors:
    """The factors of that name."""
    chosen = {chosen_name(lmax): (lmax, rank) for lmax, rank in CHOSEN_RANKS.items()}
    if name in chosen:
        lmax, rank = chosen[name]
        return fit_cp(lmax, rank, chosen_weights(lmax), starts=10)
    lmax, rank = next((l, r) for l, ranks in UNIT_RANKS.items() for r in ranks if unit_name(l, r) == name)
    if rank == UNIT_RANKS[lmax][-1]:
        return fit_cp(lmax, rank, starts=5)
    if (lmax, rank) in CYCLIC:
        symmetric, seed, steps = CYCLIC[lmax, rank]
        target = path_tensors(*all_degrees(lmax)).sum(0)
        return CPFactors.measure(fit_from_cyclic(target, rank, symmetric, seed, RIDGE, steps), all_degrees(lmax))
    starts, steps = EFFORT[lmax, rank]
    return fit_cp(lmax, rank, starts=starts, ridge=RIDGE, steps=steps)


def main(names: list[str]) -> None:
    """Fit, print and write."""
    every = [chosen_name(lmax) for lmax in CHOSEN_RANKS]
    every += [unit_name(lmax, rank) for lmax, ranks in UNIT_RANKS.items() for rank in ranks]
    arrays = {}
    if names:
        with np.load(FACTORS_FILE, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file}
    print("| factors | rank | coupling error | equivariance error | cancellation |\n| --- | --- | --- | --- | --- |")
    for name in names or every:
        factors = fit(name)
        errors = (factors.coupling_error, factors.equivariance_error)
        for part in ("a", "b", "c", "path_weights"):
            arrays[f"{name}_{part}"] = getattr(factors, part).numpy()
        arrays[f"{name}_errors"] = np.array(errors)
        np.savez(FACTORS_FILE, **arrays)
        lost = cancellation((factors.a, factors.b, factors.c))
        print(f"| {name} | {factors.rank} | {errors[0]:.2e} | {errors[1]:.2e} | {lost:.0f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
