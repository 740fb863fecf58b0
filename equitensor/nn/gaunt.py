"""The Gaunt family: features are functions on the sphere, and their product is pointwise multiplication.

Luo, Chen, Krishnapriyan, "Enabling efficient equivariant operations in the Fourier basis via Gaunt tensor
products", ICLR 2024; evaluated by default on a quadrature grid, which is exact and exactly equivariant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from equitensor.nn.gaunt_forms import FORMS, check_gaunt_options
from equitensor.nn.product_contract import InteractionMap
from equitensor.o3 import find_paths, gaunt_coefficient, poisson_coefficient
from equitensor.o3.paths import any_sum, even_sum


@final
class GauntInteraction(InteractionMap):
    """z_l3 = w_l3 sum over l1, l2 of G (w_l1 x_l1) (w_l2 y_l2) on channels-last features.

    G is the Gaunt tensor in 'integral' normalisation, with paths="all" also the tensor of the Poisson bracket
    (`o3.poisson`) where l1 + l2 + l3 is odd. Weights w_l1 | w_l2 | w_l3, each (degree, C).

    Args:
        paths: "even" or "all".
        form: how to compute it, "grid", "fourier", "direct" or "fastest", the compiled contraction where it runs and
            else the grid; the values are the same, and in plain torch the grid was the quickest wherever it was
            measured (benchmarks/gaunt_forms.py).
    """

    bilinear = True

    def __init__(self, irreps1, irreps2, irreps_out, channels: int, paths: str = "even", form: str = "fastest") -> None:
        super().__init__()
        check_gaunt_options(paths, form)
        self.indices = find_paths("gaunt", irreps1, irreps2, irreps_out, selection(paths))
        self.instructions = [(*index, "uuu", True) for index in self.indices]
        spaces = [[ir for _, ir in irreps] for irreps in (irreps1, irreps2, irreps_out)]
        self.channels, self.degrees = channels, [len(irs) for irs in spaces]
        self.weight_numel = sum(self.degrees) * channels
        self.form = FORMS[form](spaces, odd=paths == "all")
        for name, irs in zip(("owner1", "owner2", "owner_out"), spaces, strict=True):
            self.add_table(name, owners(irs))
        # The bracket takes other derivatives of the second operand than of the first.
        self.same_operands = spaces[0] == spaces[1] and paths == "even"
        self.scale = output_scale(spaces[0], spaces[1], spaces[2], self.indices)

    def initial_weight(self) -> Tensor:
        """Ones, and for w_l3 what gives outputs of unit variance for inputs of unit variance."""
        weight = torch.ones(sum(self.degrees), self.channels)
        weight[-self.degrees[2] :] = self.scale.to(weight.dtype).unsqueeze(1)
        return weight.flatten()

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """(..., d1, C), (..., d2, C), weight (..., weight_numel) or None for ones: (..., d3, C)."""
        w1, w2, w_out = self._split(weight)
        first = self.form.first(x if w1 is None else x * w1)
        if y is x and w1 is None and self.same_operands:
            second = first
        else:
            second = self.form.second(y if w2 is None else y * w2)
        return self._couple(first, second, w_out)

    def powers(self, x: Tensor, order: int, weight: Tensor | None) -> list[Tensor]:
        """x, x (x) x, (x (x) x) (x) x ... up to `order` factors, each projected back; x is evaluated once."""
        w1, w2, w_out = self._split(weight)
        terms = [x]
        factor = values = self.form.second(x if w2 is None else x * w2)
        while len(terms) < order:
            if len(terms) > 1 or w1 is not None or not self.same_operands:
                values = self.form.first(terms[-1] if w1 is None else terms[-1] * w1)
            terms.append(self._couple(values, factor, w_out))
        return terms

    def _split(self, weight: Tensor | None) -> tuple[Tensor | None, ...]:
        """w_l1, w_l2, w_l3 spread over the components."""
        if weight is None:
            return None, None, None
        parts = weight.unflatten(-1, (-1, self.channels)).split(self.degrees, dim=-2)
        components = (self.owner1, self.owner2, self.owner_out)
        return tuple(part.index_select(-2, owner) for part, owner in zip(parts, components, strict=True))

    def _couple(self, first: Tensor, second: Tensor, w_out: Tensor | None) -> Tensor:
        z = self.form.couple(first, second)
        return z if w_out is None else z * w_out

    def describe(self) -> str:
        return f"{len(self.indices)} paths, {self.weight_numel} weights, {self.form.describe()}"


def selection(paths: str) -> Callable:
    """The rule that `find_paths` takes for "even" or "all" paths, the latter with those of the Poisson bracket."""
    return any_sum if paths == "all" else even_sum


def owners(irs) -> Tensor:
    """Index of the irrep that each component belongs to."""
    return torch.repeat_interleave(torch.arange(len(irs)), torch.tensor([ir.dim for ir in irs]))


def output_scale(irs1, irs2, irs_out, indices: list[tuple]) -> Tensor:
    """1 / standard deviation of each output irrep for independent inputs of unit variance."""
    variance = torch.zeros(len(irs_out), dtype=torch.float64)
    for i, j, k in indices:
        degrees = (irs1[i].l, irs2[j].l, irs_out[k].l)
        coefficient = gaunt_coefficient if sum(degrees) % 2 == 0 else poisson_coefficient
        variance[k] += coefficient(*degrees) ** 2 / irs_out[k].dim
    return variance.rsqrt()
