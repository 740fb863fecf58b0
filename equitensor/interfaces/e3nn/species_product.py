"""`SpeciesProduct`: features times what an atom's species says, with one matrix for each species that is there.

TorchScript reads the annotations, unquoted: no `from __future__ import annotations` here.
"""

import torch
from torch import Tensor

from equitensor.interfaces.e3nn.linear import by_component
from equitensor.interfaces.e3nn.products import FullyConnectedTensorProduct

MOST = 16  # kinds of rows: with more, one product for all is as quick


class SpeciesProduct(FullyConnectedTensorProduct):
    """e3nn's FullyConnectedTensorProduct with scalars y that are equal for all atoms of a species.

    z_n = x_n W(y_n), and W is made once for each distinct row of y: its cost does not grow with the atoms.

    `of_species`: y depends on nothing but the species even where it has gradients. They then fall on one of the equal
    rows, which gives what made the rows (an embedding) its exact gradient. Otherwise a y with gradients takes the
    common way.
    """

    of_species = False

    def _plan(self) -> None:
        super()._plan()
        self._scales = [float(coupling[0, 0, 0]) for coupling in self._couplings()]  # times one

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """x (atoms, irreps_in1.dim), y (atoms, irreps_in2.dim): (atoms, irreps_out.dim)."""
        if torch.jit.is_scripting() or not self._by_kinds(x, y):
            return self._evaluate(x, y, weight)
        return self._over_kinds(x, y, weight)

    @torch.jit.unused
    def _by_kinds(self, x: Tensor, y: Tensor) -> bool:
        plain = (x.dim(), y.dim(), x.shape[0]) == (2, 2, y.shape[0]) and len(x) > 0
        widths = (x.shape[-1], y.shape[-1]) == (self._in1_dim, self._in2_dim)
        return plain and widths and self.shared_weights and (self.of_species or not y.requires_grad)

    @torch.jit.unused
    def _over_kinds(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        weight = self._get_weights(weight)
        self._check_dtypes(x, y, weight)
        kind, count = kinds_of_rows(y.detach())
        if count > MOST or 2 * count > len(y):
            return self._evaluate(x, y, weight)
        atoms = torch.arange(len(y), device=y.device)
        kinds = y.index_select(0, atoms.new_empty(count).scatter_(0, kind, atoms))
        if not torch.equal(kinds.index_select(0, kind), y):
            return self._evaluate(x, y, weight)
        if count == 1:
            return self._sorted(x, kinds, weight, [len(x)])
        order = kind.argsort(stable=True)
        z = self._sorted(x.index_select(0, order), kinds, weight, kind.bincount().tolist())
        return z.index_select(0, order.argsort())

    def _sorted(self, x: Tensor, kinds: Tensor, weight: Tensor, counts: list[int]) -> Tensor:
        """Atoms of one kind behind those of another."""
        blocks, scalars = x.split(self._sizes[0], dim=1), kinds.split(self._sizes[1], dim=1)
        rows = [by_component(block, mul, ir.dim) for block, (mul, ir) in zip(blocks, self.irreps_in1, strict=True)]
        parts = [[] for _ in self.irreps_out]
        for (_, item, own), scale in zip(self.weight_views(weight, yield_instruction=True), self._scales, strict=True):
            matrices = torch.matmul(scalars[item.i_in2] * scale, own)  # (u, kinds, w)
            dim = self.irreps_in1[item.i_in1].ir.dim
            cut = rows[item.i_in1].split([dim * count for count in counts])
            mixed = [part @ matrices[:, index] for index, part in enumerate(cut)]
            parts[item.i_out].append(mixed[0] if len(mixed) == 1 else torch.cat(mixed))
        pieces = []
        for terms, (mul, ir) in zip(parts, self.irreps_out, strict=True):
            total = sum(terms[1:], start=terms[0]) if terms else x.new_zeros(len(x) * ir.dim, mul)
            pieces.append(by_component(total.view(len(x), -1), ir.dim, mul).reshape(len(x), -1))
        return torch.cat(pieces, dim=1)


def kinds_of_rows(y: Tensor) -> tuple[Tensor, int]:
    """A number for each row, and how many there are: equal rows share one, others only by a rare accident."""
    mark = torch.mv(y, torch.arange(1, y.shape[1] + 1, dtype=y.dtype, device=y.device).cos())
    values, kind = torch.unique(mark, return_inverse=True)
    return kind, len(values)


def is_possible(product) -> bool:
    """Whether a FullyConnectedTensorProduct of e3nn's has shared weights and scalars for its second operand."""
    scalars = all(ir.l == 0 for _, ir in product.irreps_in2)
    full = all(tuple(item)[3:5] == ("uvw", True) for item in product.instructions)
    return scalars and full and product.internal_weights and product.shared_weights and product.weight_numel > 0
