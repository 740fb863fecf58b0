"""e3nn's ready-made tensor products: instructions that follow from the irreps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from equitensor.errors import InputError
from equitensor.interfaces.e3nn.instructions import require
from equitensor.interfaces.e3nn.tensor_product import TensorProduct
from equitensor.o3 import as_irreps
from equitensor.o3 import irreps as e3nn_names
from equitensor.o3.irreps import IrrepLike, IrrepsLike


class FullyConnectedTensorProduct(TensorProduct):
    """z_w = sum of w_uvw x_u (x) y_v over every path into irreps_out; arguments as `TensorProduct`."""

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        irreps_out: IrrepsLike,
        irrep_normalization: str | None = None,
        path_normalization: str | None = None,
        **kwargs: Any,
    ) -> None:
        irreps1, irreps2, out = as_irreps(irreps_in1), as_irreps(irreps_in2), as_irreps(irreps_out)
        instructions = [
            (i1, i2, i_out, "uvw", True)
            for i1, (_, ir1) in enumerate(irreps1)
            for i2, (_, ir2) in enumerate(irreps2)
            for i_out, (_, ir_out) in enumerate(out)
            if ir_out in ir1 * ir2
        ]
        super().__init__(
            irreps1,
            irreps2,
            out,
            instructions,
            irrep_normalization=irrep_normalization,
            path_normalization=path_normalization,
            **kwargs,
        )


class FullTensorProduct(TensorProduct):
    """z_uv = x_u (x) y_v, every pair of copies into every irrep (of filter_ir_out, if given), no weights."""

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        filter_ir_out: Sequence[IrrepLike] | None = None,
        irrep_normalization: str | None = None,
        **kwargs: Any,
    ) -> None:
        irreps1, irreps2 = as_irreps(irreps_in1).simplify(), as_irreps(irreps_in2).simplify()
        wanted = irrep_filter(filter_ir_out)
        paths = [
            (i1, i2, (mul1 * mul2, ir))
            for i1, (mul1, ir1) in enumerate(irreps1)
            for i2, (mul2, ir2) in enumerate(irreps2)
            for ir in ir1 * ir2
            if wanted is None or ir in wanted
        ]
        out, slots, _ = as_irreps([mul_ir for *_, mul_ir in paths]).sort()
        instructions = [(i1, i2, slot, "uvuv", False) for (i1, i2, _), slot in zip(paths, slots, strict=True)]
        super().__init__(irreps1, irreps2, out, instructions, irrep_normalization=irrep_normalization, **kwargs)


class ElementwiseTensorProduct(TensorProduct):
    """z_u = x_u (x) y_u, copy by copy along both irreps, no weights.

    Raises:
        InstructionError: unless both have the same number of copies.
    """

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        filter_ir_out: Sequence[IrrepLike] | None = None,
        irrep_normalization: str | None = None,
        **kwargs: Any,
    ) -> None:
        irreps1, irreps2 = as_irreps(irreps_in1).simplify(), as_irreps(irreps_in2).simplify()
        counts = (irreps1.num_irreps, irreps2.num_irreps)
        require(counts[0] == counts[1], f"'{irreps1}' has {counts[0]} irreps, '{irreps2}' {counts[1]}: not one to one")
        wanted = irrep_filter(filter_ir_out)
        pairs = _aligned(irreps1, irreps2)
        paths = [
            (i, (mul, ir))
            for i, (mul, ir1, ir2) in enumerate(pairs)
            for ir in ir1 * ir2
            if wanted is None or ir in wanted
        ]
        super().__init__(
            [(mul, ir) for mul, ir, _ in pairs],
            [(mul, ir) for mul, _, ir in pairs],
            [mul_ir for _, mul_ir in paths],
            [(i, i, slot, "uuu", False) for slot, (i, _) in enumerate(paths)],
            irrep_normalization=irrep_normalization,
            **kwargs,
        )


def irrep_filter(given) -> list | None:
    """The irreps to keep, None for all.

    Raises:
        InputError: where an entry is not an irrep.
    """
    if given is None:
        return None
    try:
        return [e3nn_names.Irrep(ir) for ir in given]
    except ValueError as error:
        raise InputError(f"filter_ir_out is {given}: give a list of irreps such as ['0e', '1o']") from error


def _aligned(irreps1, irreps2) -> list[tuple]:
    """(mul, ir1, ir2): both lists cut where either changes its irrep."""
    ends = sorted({end for irreps in (irreps1, irreps2) for end in _ends(irreps)})
    pairs, start = [], 0
    for end in ends:
        pairs.append((end - start, _irrep_at(irreps1, start), _irrep_at(irreps2, start)))
        start = end
    return pairs


def _ends(irreps) -> list[int]:
    ends = []
    for mul, _ in irreps:
        ends.append(mul + (ends[-1] if ends else 0))
    return ends


def _irrep_at(irreps, copy: int):
    return next(ir for (_, ir), end in zip(irreps, _ends(irreps), strict=True) if copy < end)
