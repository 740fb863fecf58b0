"""Which couplings of two irreps to a third a product can express, and why not the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from equitensor.errors import InputError

if TYPE_CHECKING:
    from e3nn.o3 import Irreps

DEGREE, PARITY, RULE = range(3)  # what refuses a coupling, in the order in which they are asked


def any_sum(ir1, ir2, ir_out) -> str | None:
    """No rule beyond O(3)."""
    return None


def even_sum(ir1, ir2, ir_out) -> str | None:
    """The rule of functions on the sphere: why l1 + l2 + l3 must be even, or None where it is."""
    total = ir1.l + ir2.l + ir_out.l
    if total % 2 == 0:
        return None
    return (
        f"l1 + l2 + l3 = {total} is odd, and the Gaunt product multiplies functions on the sphere, which "
        "leaves even sums only: add paths='all' for the Poisson bracket, or use product='cg' for this path"
    )


RULES: dict[str, Callable] = {"cg": any_sum, "gaunt": even_sum, "cp": any_sum}
PRODUCTS = tuple(RULES)


def refusal(ir1, ir2, ir_out, rule: Callable = any_sum) -> str | None:
    """Why ir1 x ir2 -> ir_out (e3nn Irreps elements) is no coupling under O(3) and the rule, or None where it is."""
    reason = _refusal(ir1, ir2, ir_out, rule)
    return None if reason is None else reason[1]


def _refusal(ir1, ir2, ir_out, rule: Callable) -> tuple[int, str] | None:
    if not abs(ir1.l - ir2.l) <= ir_out.l <= ir1.l + ir2.l:
        return DEGREE, f"the degree must lie between {abs(ir1.l - ir2.l)} and {ir1.l + ir2.l}"
    if ir1.p * ir2.p != ir_out.p:
        return PARITY, "the parity is not the product of the parities"
    reason = rule(ir1, ir2, ir_out)
    return None if reason is None else (RULE, reason)


def find_paths(
    product: str, irreps1: Irreps, irreps2: Irreps, irreps_out: Irreps, rule: Callable | None = None
) -> list[tuple[int, int, int]]:
    """All (i1, i2, i_out) that `product` can express, sorted by i_out, then i1, then i2.

    Args:
        product: the family's name.
        rule: (ir1, ir2, ir_out) -> why the family cannot couple them although O(3) allows it, or None where it can;
            left out: that of "cg", "gaunt" or "cp".
    Raises:
        InputError: where an irrep of irreps_out has no path at all, with the reason.
    """
    rule = _rule(product) if rule is None else rule
    paths = []
    for k, (_, ir_out) in enumerate(irreps_out):
        pairs = [(i, j) for i in range(len(irreps1)) for j in range(len(irreps2))]
        reached = [(i, j, k) for i, j in pairs if refusal(irreps1[i].ir, irreps2[j].ir, ir_out, rule) is None]
        if not reached:
            raise InputError(_unreachable(product, irreps1, irreps2, ir_out, rule))
        paths += reached
    return paths


def _rule(product: str) -> Callable:
    if product not in RULES:
        raise InputError(f"product is {product!r}: choose one of {', '.join(PRODUCTS)}")
    return RULES[product]


def _unreachable(product: str, irreps1, irreps2, ir_out, rule: Callable) -> str:
    """The closest miss: what the rule refuses before a parity before a degree."""
    misses = set()
    for ir1, ir2 in ((ir1, ir2) for _, ir1 in irreps1 for _, ir2 in irreps2):
        if (refused := _refusal(ir1, ir2, ir_out, rule)) is not None:
            misses.add((-refused[0], f"{ir1} x {ir2} -> {ir_out}: {refused[1]}"))
    head = f"product={product!r} cannot make {ir_out} of irreps_out from {irreps1} x {irreps2}"
    return f"{head}: {min(misses)[1]}" if misses else f"{head}: an operand is empty"
