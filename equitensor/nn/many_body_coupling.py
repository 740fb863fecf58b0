"""Many-body products with every path of the generalised Clebsch-Gordan basis, as sparse polynomials of x.

TorchScript reads the annotations, unquoted: no `from __future__ import annotations` here.
"""

from typing import final

import torch
from torch import Tensor

from equitensor.nn.product_contract import ManyBodyMap
from equitensor.nn.tables import Tables
from equitensor.o3.polynomial_blocks import PolynomialTerm, polynomial_blocks
from equitensor.o3.polynomial_terms import independent_rows, polynomial_terms
from equitensor.o3.symmetric_coupling import symmetric_paths
from equitensor.ops import availability
from equitensor.ops.element_tiles import Tiles, element_tiles, from_tiles, to_tiles
from equitensor.ops.many_body import element_polynomials
from equitensor.ops.polynomials import Block, Products, polynomials

OVERHEAD = 120  # coefficients that cost as much as a further block: least time of 0 to 2000, lmax 1 to 3


class ElementPolynomials(Tables):
    """z_M = sum over paths of w (path of x)_M with weights by element and channel: (n, C, d) to (n, C, outputs).

    On the core where it is loaded; in TorchScript, and without it, small dense blocks in plain torch.

    Args:
        terms: the paths.
        paths: how many weights they have per element and channel.
        d, outputs: components of x and z.
        channels_last: (n, d, C) to (n, outputs, C) instead.
        rounding: of paths that depend on each other, as MACE's, as many are made as are independent up to this.
    Attributes:
        multiplications: per atom and channel, in one evaluation in plain torch.
    """

    _stages: list[Products]
    _final: Products
    _blocks: list[Block]
    _sizes: list[int]

    def __init__(
        self,
        terms: list[PolynomialTerm],
        paths: int,
        d: int,
        outputs: int,
        channels_last: bool = False,
        rounding: float | None = None,
    ) -> None:
        super().__init__()
        self._outputs, self._channels_last = outputs, channels_last
        plan = polynomial_blocks(terms, d, paths, OVERHEAD)
        self._blocks = [Block(*block) for block in plan.blocks]
        parts: list[Tensor] = []
        self._stages, columns = [], d + 1
        for i, j in plan.products:
            self._stages.append(Products(sum(map(len, parts)), len(i), columns, d + 1))
            parts += [i, j]
            columns = len(i)
        self._final = Products(sum(map(len, parts)), len(plan.factor), outputs, d)
        self.add_table("index", torch.cat([*parts, plan.component, plan.factor]))
        basis, reduction = plan.matrix, torch.zeros(0, 0, dtype=torch.float64)
        if rounding is not None:
            reduction, basis = independent_rows(plan.matrix, rounding)
        self._reduced = rounding is not None and len(basis) < paths
        self.add_table("basis", basis if self._reduced else plan.matrix)
        self.add_table("reduction", reduction)
        terms_of_plan = polynomial_terms(plan, self.table("basis"), d, outputs)
        self._sizes = terms_of_plan.sizes
        self.add_table("terms", terms_of_plan.table)
        self.multiplications = 2 * len(plan.factor) + columns + sum(b.rows * b.columns for b in self._blocks)

    def forward(self, x: Tensor, weight: Tensor, element_index: Tensor) -> Tensor:
        """x (n, C, d), weight (elements, paths, C), element_index (n,)."""
        channels = weight.shape[2]
        if x.shape[0] == 0 or len(self._blocks) == 0:
            linked = 0 * (x.square().sum() + weight.square().sum())  # to its operands, twice differentiable
            nothing = x.new_zeros([x.shape[0], self._outputs, channels]) + linked
            return nothing if self._channels_last else nothing.transpose(1, 2)
        if not torch.jit.is_scripting():  # on a line of its own: TorchScript then leaves the rest out
            outputs = self._follow_terms(x, weight, element_index)
            if outputs is not None:
                return outputs
        tiles = element_tiles(element_index, weight.shape[0])
        z = polynomials(
            to_tiles(x, tiles, self._channels_last),
            self.coefficients(weight, tiles),
            self.index,
            self._stages,
            self._final,
            self._blocks,
        )
        return from_tiles(z, tiles, channels, self._channels_last)

    @torch.jit.unused
    def _follow_terms(self, x: Tensor, weight: Tensor, element_index: Tensor) -> Tensor | None:
        """What `forward` returns, on the core; None where it does not take the operands."""
        if not availability.has_kernel(x, weight) or not x.dtype == weight.dtype == self.basis.dtype:
            return None
        rows = x if self._channels_last else x.transpose(1, 2)
        tables = self.reduction if self._reduced else None, self.basis, self.terms, self._sizes
        z = element_polynomials(rows, weight, element_index.long(), *tables)
        return z if self._channels_last else z.transpose(1, 2)

    def coefficients(self, weight: Tensor, tiles: Tiles) -> Tensor:
        """(tiles C, coefficients) of the polynomials of each tile's element."""
        if len(tiles.present) < weight.shape[0]:
            weight = weight.index_select(0, tiles.present)
        rows = weight.transpose(1, 2).flatten(0, 1)
        if self._reduced:
            rows = rows @ self.reduction
        coefficients = rows @ self.basis
        if len(tiles.element) == len(tiles.present):
            return coefficients
        own = coefficients.view(len(tiles.present), -1).index_select(0, tiles.element)
        return own.view(-1, coefficients.shape[1])


@final
class CoupledPowers(ManyBodyMap):
    """Orders 1 to `correlation` of x in the generalised Clebsch-Gordan basis of `o3.symmetric_paths`.

    Attributes:
        paths: for each order, ((irreps of x), irrep out) of each weight.
    """

    def __init__(self, irreps_in, irreps_out, channels: int, correlation: int) -> None:
        super().__init__()
        irs, outs = [ir for _, ir in irreps_in], [ir for _, ir in irreps_out]
        starts = torch.tensor([0, *(ir.dim for ir in outs)]).cumsum(0).tolist()
        terms, self.paths, count = [], [], 0
        for order in range(1, correlation + 1):
            self.paths.append([])
            for start, ir_out in zip(starts, outs, strict=False):
                coupled = symmetric_paths(irs, ir_out, order)
                terms.append(PolynomialTerm(count, start, coupled.monomials, coupled.coefficients))
                self.paths[-1] += [(tuple(irs[s] for s in slots), ir_out) for slots in coupled.slots]
                count += len(coupled.slots)
        self.polynomials = ElementPolynomials(terms, count, sum(ir.dim for ir in irs), starts[-1], channels_last=True)

    def initial_scale(self) -> list[Tensor]:
        """By order, (paths,): outputs of unit variance for normal deviates x, beside lower orders of x in x x."""
        outs = [out for own in self.paths for _, out in own]
        return [torch.tensor([outs.count(out) ** -0.5 for _, out in own]) for own in self.paths]

    def forward(self, x: Tensor, weights: list[Tensor], element_index: Tensor) -> Tensor:
        """x (n, d, C), a weight (elements, paths, C) for each order: (n, d_out, C)."""
        return self.polynomials(x, torch.cat(weights, dim=1), element_index)

    def refusal(self, ir_out) -> str:
        """Why no order reaches an irrep."""
        return "no product of so few factors has this degree and this parity"

    def multiplications(self) -> int:
        """Per atom and channel."""
        return self.polynomials.multiplications

    def describe(self) -> str:
        """What it is computed with."""
        return f"coefficients in blocks {', '.join(f'{b.rows}x{b.columns}' for b in self.polynomials._blocks)}"
