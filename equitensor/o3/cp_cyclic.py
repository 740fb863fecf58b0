"""CP decompositions that stay the same when their three factors change places in a circle.

The sum of all Wigner 3j is such a tensor, T_ijk = T_jki. With S terms a a a and P triples a b c + b c a + c a b, of
rank R = S + 3 P, there are a third of the unknowns, and a step of Levenberg-Marquardt takes 27 times less. Below the
exact rank the best of many such fits, its symmetry then broken by a small perturbation, is a far better start than a
random one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.o3.cp import Matrices
from equitensor.o3.cp_fit import ROUNDING, balanced, levenberg_marquardt, normal_block, pulled, refine

WARM_UP = (1e-1, 1e-2, 1e-3, 1e-4)  # ridges, relative to none: a few steps each keep the first terms apart
WARM_UP_STEPS = 8
PERTURBATION = 0.01


class CyclicFactors:
    """theta (R, d): S rows a, then P rows each of the a, the b and the c of the triples; copied to A, B and C."""

    copies = 3

    def __init__(self, symmetric: int, triples: int, size: int) -> None:
        own = list(range(symmetric))
        a, b, c = (list(range(symmetric + k * triples, symmetric + (k + 1) * triples)) for k in range(3))
        self.orders = [torch.tensor(own + x + y + z) for x, y, z in ((a, b, c), (b, c, a), (c, a, b))]
        self.shape = (symmetric + 3 * triples, size)

    def factors(self, theta: Tensor) -> list[Tensor]:
        return [theta.view(self.shape)[order] for order in self.orders]

    def gradient(self, factors: list[Tensor], residual: Tensor) -> Tensor:
        """All three factors give the same, since the residual has the symmetry."""
        return 3 * pulled(factors, residual, 0).flatten()

    def normal(self, factors: list[Tensor]) -> Tensor:
        """Rows of A against the unknowns behind A, B and C, three times for the symmetry."""
        numel = self.shape[0] * self.shape[1]
        blocks = [normal_block(factors, 0, m)[:, :, self.orders[m].argsort()] for m in range(3)]
        total = 3 * (blocks[0] + blocks[1] + blocks[2]).reshape(numel, numel)
        return (total + total.T) / 2


def fit_cyclic(target: Tensor, rank: int, symmetric: int, seed: int, ridge: float, steps: int) -> list[Tensor]:
    """A, B, C (R, d), float64, of one random start; `ridge` as in `cp_fit.fit_factors`.

    Raises:
        InputError: a target without the symmetry, or a rank that is not symmetric + 3 triples.
    """
    if len(set(target.shape)) != 1 or not torch.allclose(target, target.permute(1, 2, 0), atol=1e-12):
        raise InputError("the target changes when its axes change places in a circle: use fit_factors")
    triples, rest = divmod(rank - symmetric, 3)
    if rest or symmetric < 0 or triples < 0:
        raise InputError(f"rank {rank} is not {symmetric} symmetric terms and a whole number of triples")
    form = CyclicFactors(symmetric, triples, len(target))
    norm = float(target.norm())
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(form.shape, generator=generator, dtype=torch.float64).flatten()
    theta = theta * norm ** (1 / 3) / rank ** (1 / 6) / len(target) ** 0.5
    for first in WARM_UP:
        theta = levenberg_marquardt(form, theta, target, first, WARM_UP_STEPS, 0.0)
    return form.factors(levenberg_marquardt(form, theta, target, ridge * norm**2, steps, ROUNDING * norm))


def fit_from_cyclic(target: Tensor, rank: int, symmetric: int, seed: int, ridge: float, steps: int) -> Matrices:
    """Free factors from `fit_cyclic`, balanced. Arguments as there; steps of each fit.

    Raises:
        InputError: as `fit_cyclic`.
    """
    generator = torch.Generator().manual_seed(seed)
    start = [
        f + PERTURBATION * torch.randn(f.shape, generator=generator, dtype=torch.float64)
        for f in balanced(fit_cyclic(target, rank, symmetric, seed, ridge, steps))
    ]
    return balanced(refine(start, target, ridge, steps))
