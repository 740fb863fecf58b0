"""`TensorSquare`: the product of a feature with itself, each pair of copies once."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from equitensor.errors import InputError
from equitensor.interfaces.e3nn.instructions import require
from equitensor.interfaces.e3nn.products import irrep_filter
from equitensor.interfaces.e3nn.tensor_product import TensorProduct
from equitensor.o3 import as_irreps
from equitensor.o3.irreps import IrrepLike, IrrepsLike


class TensorSquare(TensorProduct):
    """x (x) x: with irreps_out fully connected and weighted, without it every irrep of the square and no weights.

    Raises:
        InputError: irreps_out and filter_ir_out together, or an unknown normalisation.
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_out: IrrepsLike | None = None,
        filter_ir_out: Sequence[IrrepLike] | None = None,
        irrep_normalization: str | None = None,
        **kwargs: Any,
    ) -> None:
        rule = irrep_normalization or "component"
        require(rule in ("component", "norm", "none"), f"irrep_normalization is {rule!r}: component, norm or none")
        irreps = as_irreps(irreps_in).simplify()
        wanted = irrep_filter(filter_ir_out)
        if irreps_out is None:
            out, instructions = _full(irreps, wanted, rule)
        elif wanted is None:
            out = as_irreps(irreps_out).simplify()
            instructions = _fully_connected(irreps, out, rule)
        else:
            raise InputError("irreps_out and filter_ir_out both say which irreps to make: give one of them")
        super().__init__(irreps, irreps, out, instructions, irrep_normalization="none", **kwargs)
        self.irreps_in = irreps

    # It takes one operand, as that of e3nn. TorchScript wants nothing behind the comment of the next line.
    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """(..., irreps_in.dim) -> (..., irreps_out.dim); weight as `TensorProduct.forward`."""
        return self._evaluate(x, x, weight)

    def __repr__(self) -> str:
        both = f"{self.irreps_in1.simplify()} x {self.irreps_in2.simplify()}"
        return super().__repr__().replace(both, str(self.irreps_in))


def _full(irreps, wanted, rule: str) -> tuple:
    slots, instructions = [], []
    for i1, i2, ir in _pairs(irreps):
        if wanted is not None and ir not in wanted:
            continue
        for mode, copies, square in _terms(irreps, i1, i2, ir, rule):
            instructions.append((i1, i2, len(slots), {"pairs": "uvuv", "half": "uvu<v", "same": "uuu"}[mode], square))
            slots.append((copies, ir))
    out, order, _ = as_irreps(slots).sort()
    return out, [(i1, i2, order[slot], mode, False, square) for i1, i2, slot, mode, square in instructions]


def _fully_connected(irreps, out, rule: str) -> list[tuple]:
    names = {"pairs": "uvw", "half": "u<vw", "same": "uuw"}
    return [
        (i1, i2, slot, names[mode], True, square)
        for i1 in range(len(irreps))
        for i2 in range(i1, len(irreps))
        for slot, (_, ir) in enumerate(out)
        if ir in irreps[i1].ir * irreps[i2].ir
        for mode, _, square in _terms(irreps, i1, i2, ir, rule)
    ]


def _pairs(irreps):
    for i1 in range(len(irreps)):
        for i2 in range(i1, len(irreps)):
            for ir in irreps[i1].ir * irreps[i2].ir:
                yield i1, i2, ir


def _terms(irreps, i1: int, i2: int, ir, rule: str) -> list[tuple]:
    """(which pairs of copies, how many, square of the factor) of ir in irreps[i1] x irreps[i2].

    A copy times itself has only its symmetric part, the even degrees, and another variance than two copies have:
    of independent components of variance 1, x.x has variance 2 and mean square dim + 2 times that of x.y.
    """
    (mul1, ir1), (mul2, ir2) = irreps[i1], irreps[i2]
    square = {"component": ir.dim, "norm": ir1.dim * ir2.dim, "none": 1}[rule]
    if i1 != i2:
        return [("pairs", mul1 * mul2, square)]
    terms = [("half", mul1 * (mul1 - 1) // 2, square)] if mul1 > 1 else []
    if ir.l % 2 == 0:
        terms.append(("same", mul1, _square_of_itself(ir1.dim, ir, rule)))
    return terms


def _square_of_itself(dim: int, ir, rule: str) -> float:
    if rule == "component":
        return ir.dim / (dim + 2) if ir.l == 0 else ir.dim / 2
    if rule == "norm":
        return ir.dim * dim if ir.l == 0 else dim * (dim + 2) / 2
    return 1
