"""Instructions of a tensor product: which irreps each path couples, in what mode, and how it is normalised."""

from __future__ import annotations

import math
from typing import NamedTuple

from equitensor.errors import InputError
from equitensor.ops.tensor_product import MODES


class InstructionError(InputError, AssertionError):
    """Wrong arguments of a tensor product; also the AssertionError that e3nn raises."""


class OperandError(InputError, RuntimeError):
    """Operands that cannot be multiplied; also the RuntimeError that torch raises."""


class Instruction(NamedTuple):
    """As e3nn's: slots, mode, whether it has weights, the factor of the path and the shape of its weights."""

    i_in1: int
    i_in2: int
    i_out: int
    connection_mode: str
    has_weight: bool
    path_weight: float
    path_shape: tuple


def require(condition: bool, message: str) -> None:
    if not condition:
        raise InstructionError(message)


def weight_shape(mode: str, u: int, v: int, w: int) -> tuple:
    """Of a path with these multiplicities: (u, v, w), (u, v), (u, w) ..."""
    pairs = u * (v - 1) // 2
    shapes = {"uvw": (u, v, w), "uuw": (u, w), "uuu": (u,), "uvu<v": (pairs,), "u<vw": (pairs, w)}
    return shapes.get(mode, (u, v))


def fan_in(mode: str, u: int, v: int) -> int:
    """How many terms a path sums into one output."""
    return {"uvw": u * v, "uvu": v, "uvv": u, "uuw": u, "u<vw": u * (v - 1) // 2}.get(mode, 1)


def parse(given, irreps1, irreps2, irreps_out) -> list[Instruction]:
    """Check every (i_1, i_2, i_out, mode, has_weight[, path_weight]); path_weight is the square of a factor here."""
    parsed = []
    for item in given:
        require(len(item) in (5, 6), f"instruction {item}: expected (i_1, i_2, i_out, mode, has_weight[, path_weight])")
        i1, i2, i_out, mode, has_weight = item[:5]
        path_weight = item[5] if len(item) == 6 else 1.0
        require(mode in MODES, f"instruction {item}: no mode {mode!r}, choose one of {', '.join(MODES)}")
        for name, index, irreps in (("i_1", i1, irreps1), ("i_2", i2, irreps2), ("i_out", i_out, irreps_out)):
            require(
                0 <= index < len(irreps), f"instruction {item}: {name} is {index}, but '{irreps}' has {len(irreps)}"
            )
        (u, ir1), (v, ir2), (w, ir_out) = irreps1[i1], irreps2[i2], irreps_out[i_out]
        require(ir_out in ir1 * ir2, f"instruction {item}: {ir1} x {ir2} does not contain {ir_out}")
        shape = weight_shape(mode, u, v, w)
        if 0 not in shape:
            _check_multiplicities(item, mode, has_weight, u, v, w)
        parsed.append(Instruction(i1, i2, i_out, mode, has_weight, path_weight, shape))
    return parsed


def _check_multiplicities(item, mode: str, has_weight: bool, u: int, v: int, w: int) -> None:
    rules = {
        "uvw": (has_weight, "has weights"),
        "uvu": (u == w, "makes as many copies as the first operand has"),
        "uvv": (v == w, "makes as many copies as the second operand has"),
        "uuw": (u == v and (has_weight or w == 1), "needs equal multiplicities, and one output copy without weights"),
        "uuu": (u == v == w, "needs equal multiplicities"),
        "uvuv": (u * v == w, "makes a copy for each pair"),
        "uvu<v": (u == v and u * (u - 1) // 2 == w, "needs equal multiplicities and makes a copy for each pair u < v"),
        "u<vw": (u == v and has_weight, "needs equal multiplicities, and weights"),
    }
    kept, rule = rules[mode]
    require(kept, f"instruction {item}: multiplicities {u}, {v} -> {w}, has_weight={has_weight}, but {mode} {rule}")


def variances(values, irreps, name: str) -> list[float]:
    """One for each irrep; ones by default."""
    if values is None:
        return [1.0] * len(irreps)
    values = [float(value) for value in values]
    require(len(values) == len(irreps), f"{name} has {len(values)} entries, '{irreps}' has {len(irreps)} irreps")
    return values


def normalise(instructions: list[Instruction], irreps: tuple, variance: tuple, irrep: str, path: str) -> list:
    """path_weight becomes the factor sqrt(a path_weight out_var / s) of the path.

    a: 2 l3 + 1 ("component"), (2 l1 + 1)(2 l2 + 1) ("norm"), 1 ("none"). s: the variance that the terms of this
    output sum to ("element"), that of this path times the number of paths ("path"), 1 ("none").
    """
    require(irrep in ("component", "norm", "none"), f"irrep_normalization is {irrep!r}: component, norm or none")
    require(path in ("element", "path", "none"), f"path_normalization is {path!r}: element, path or none")

    def variance_of(item: Instruction) -> float:
        u, v = irreps[0][item.i_in1].mul, irreps[1][item.i_in2].mul
        return variance[0][item.i_in1] * variance[1][item.i_in2] * fan_in(item.connection_mode, u, v)

    normalised = []
    for item in instructions:
        dims = [space[slot].ir.dim for space, slot in zip(irreps, item[:3], strict=True)]
        square = {"component": dims[2], "norm": dims[0] * dims[1], "none": 1}[irrep]
        together = [other for other in instructions if other.i_out == item.i_out]
        total = {
            "element": sum(map(variance_of, together)),
            "path": variance_of(item) * len(together),
            "none": 1.0,
        }[path]
        square = square / (total if total > 0 else 1.0) * variance[2][item.i_out] * item.path_weight
        normalised.append(item._replace(path_weight=math.sqrt(square)))
    return normalised
