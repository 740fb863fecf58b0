"""Which couplings of two irreps to a third a product can express, and why not the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equitensor.errors import InputError

if TYPE_CHECKING:
    from e3nn.o3 import Irreps

PRODUCTS = ("cg", "gaunt", "cp")


def check_product(product: str) -> None:
    """Raise InputError unless `product` names a tensor-product family that exists."""
    if product not in PRODUCTS:
        raise InputError(f"product is {product!r}: choose one of {', '.join(PRODUCTS)}")


def refusal(product: str, ir1, ir2, ir_out, odd: bool = False) -> str | None:
    """Why `product` cannot couple ir1 x ir2 -> ir_out (e3nn Irreps elements), or None where it can.

    Args:
        odd: "gaunt" has paths with odd l1 + l2 + l3 too, by the Poisson bracket.
    """
    if not abs(ir1.l - ir2.l) <= ir_out.l <= ir1.l + ir2.l:
        return f"the degree must lie between {abs(ir1.l - ir2.l)} and {ir1.l + ir2.l}"
    if ir1.p * ir2.p != ir_out.p:
        return "the parity is not the product of the parities"
    total = ir1.l + ir2.l + ir_out.l
    if product == "gaunt" and total % 2 == 1 and not odd:
        return (
            f"l1 + l2 + l3 = {total} is odd, and the Gaunt product multiplies functions on the sphere, which "
            "leaves even sums only: add paths='all' for the Poisson bracket, or use product='cg' for this path"
        )
    return None


def find_paths(
    product: str, irreps1: Irreps, irreps2: Irreps, irreps_out: Irreps, odd: bool = False
) -> list[tuple[int, int, int]]:
    """All (i1, i2, i_out) that `product` can express, sorted by i_out, then i1, then i2.

    Args:
        odd: as in `refusal`.
    Raises:
        InputError: where an irrep of irreps_out has no path at all, with the reason.
    """
    check_product(product)
    paths = []
    for k, (_, ir_out) in enumerate(irreps_out):
        pairs = [(i, j) for i in range(len(irreps1)) for j in range(len(irreps2))]
        reached = [(i, j, k) for i, j in pairs if refusal(product, irreps1[i].ir, irreps2[j].ir, ir_out, odd) is None]
        if not reached:
            raise InputError(_unreachable(product, irreps1, irreps2, ir_out))
        paths += reached
    return paths


def _unreachable(product: str, irreps1, irreps2, ir_out) -> str:
    """The closest miss: an odd Gaunt path before a parity before a degree."""
    reasons = {
        f"{ir1} x {ir2} -> {ir_out}: {refusal(product, ir1, ir2, ir_out)}" for _, ir1 in irreps1 for _, ir2 in irreps2
    }
    ranked = sorted(reasons, key=lambda r: ("is odd" not in r, "parity" not in r, r))
    head = f"product={product!r} cannot make {ir_out} of irreps_out from {irreps1} x {irreps2}"
    return f"{head}: {ranked[0]}" if ranked else f"{head}: an operand is empty"
