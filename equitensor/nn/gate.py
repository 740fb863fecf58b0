"""`Gate`: the non-linearity that O(3) allows: scalars through functions, everything else times such scalars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.nn.layout import check_shape, component_sizes, feature_shape, join_irreps, split_irreps
from equitensor.o3.irreps import IrrepsLike, as_irreps

SAMPLES = 1_000_000  # e3nn's number: the factors agree to the last digit, and so do trained networks
NEARLY_ONE = 1e-4
PARITY_TOLERANCE = 1e-5
Activations: TypeAlias = "Callable[[Tensor], Tensor] | Sequence[Callable[[Tensor], Tensor] | None]"


class Gate(nn.Module):
    """(phi(s), phi'(g) v) of a feature (s, g, v): one gate g for each copy of each irrep in v.

    Order, signs of parities and factors are those of e3nn's `nn.Gate`, which gives the same values. A linear layer
    in front of it makes `gate.irreps_in`.

    >>> gate = Gate("16x0e", torch.nn.functional.silu, "8x0e", torch.sigmoid, "4x1o+4x2e")
    >>> gate.irreps_in, gate.irreps_out
    (24x0e+4x1o+4x2e, 16x0e+4x1o+4x2e)

    Args:
        irreps_scalars: scalars (0e, 0o) of their own. irreps_gates: as many scalars as irreps_gated has copies.
        act_scalars, act_gates: one function for all, or a list with one per entry of the irreps, None for identity.
            Each is scaled so that normal deviates come out with mean square one. On 0o it must be even (the result
            is 0e) or odd (0o).
        layout: "flat" takes e3nn's (..., irreps.dim), "channels_last" (..., d, C).
    Attributes:
        irreps_in: sorted, and simplified for layout="flat".
        irreps_out: of the result.
    Raises:
        InputError: scalars or gates that are none, their number, a function without parity on 0o.
    """

    def __init__(
        self,
        irreps_scalars: IrrepsLike,
        act_scalars: Activations,
        irreps_gates: IrrepsLike,
        act_gates: Activations,
        irreps_gated: IrrepsLike,
        layout: str = "flat",
    ) -> None:
        super().__init__()
        scalars, gates, gated = map(as_irreps, (irreps_scalars, irreps_gates, irreps_gated))
        _check_counts(scalars, gates, gated)
        self.layout = layout
        self.irreps_scalars, self.irreps_gates, self.irreps_gated = scalars, gates, gated
        self.act_scalars, scalars_out = _activations("act_scalars", scalars, act_scalars)
        self.act_gates, gates_out = _activations("act_gates", gates, act_gates)
        irreps_in, place, _ = (scalars + gates + gated).sort()
        self.irreps_in = irreps_in.simplify() if layout == "flat" else irreps_in
        gated_out, self._muls = _gated_irreps(gates_out, gated)
        self.irreps_out = scalars_out + gated_out
        self.shape_in = feature_shape(irreps_in, layout, "irreps_scalars + irreps_gates + irreps_gated")
        feature_shape(self.irreps_out, layout, "irreps_out")
        self._counts, self._sizes = [mul for mul, _ in irreps_in], component_sizes(irreps_in)
        ends = (len(scalars), len(scalars) + len(gates))
        self._places = (list(place[: ends[0]]), list(place[ends[0] : ends[1]]), list(place[ends[1] :]))

    def forward(self, x: Tensor) -> Tensor:
        """A feature of irreps_in to one of irreps_out, in the layout of the layer.

        Raises:
            InputError: a shape that does not fit.
        """
        check_shape("Gate", "x", x, self.shape_in, f"{self.irreps_in}, layout {self.layout}")
        blocks = split_irreps(x, self._counts, self._sizes, self.layout)
        scalars, gates, gated = ([blocks[i] for i in places] for places in self._places)
        out = [act(s) for act, s in zip(self.act_scalars, scalars, strict=True)]
        if gates:
            opened = torch.cat([act(g) for act, g in zip(self.act_gates, gates, strict=True)], dim=-1)
            factors = opened.split(self._muls, dim=-1)
            out += [factor * block for factor, block in zip(factors, gated, strict=True)]
        return join_irreps(out, self.layout)

    def extra_repr(self) -> str:
        return f"{self.irreps_in} -> {self.irreps_out}, layout={self.layout!r}"


class Activation(nn.Module):
    """c f(x), c = <f(z)^2>^(-1/2) over normal deviates z; f None is the identity."""

    def __init__(self, function: Callable | None) -> None:
        super().__init__()
        self.function, self.factor = function, 1.0 if function is None else normalising_factor(function)

    def forward(self, x: Tensor) -> Tensor:
        if self.function is None:
            return x
        return self.function(x) if self.factor == 1.0 else self.function(x) * self.factor

    def extra_repr(self) -> str:
        return f"{getattr(self.function, '__name__', self.function)}, factor {self.factor:.6g}"


@torch.no_grad()
def normalising_factor(function: Callable) -> float:
    """<f(z)^2>^(-1/2): over e3nn's million normal deviates, and one where within 1e-4 of it, as there."""
    deviates = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    factor = function(_fitting(deviates, function)).double().square().mean().rsqrt().item()
    return 1.0 if abs(factor - 1) < NEARLY_ONE else factor


@torch.no_grad()
def parity(function: Callable) -> int:
    """1 for an even function, -1 for an odd one, 0 for neither."""
    x = _fitting(torch.linspace(0, 10, 256, dtype=torch.float64), function)
    there, back = function(x), function(-x)
    for sign in (1, -1):
        if bool((there - sign * back).abs().max() < PARITY_TOLERANCE):
            return sign
    return 0


def _fitting(x: Tensor, function: Callable) -> Tensor:
    """x in the dtype and on the device of the function's own parameters, where it has some."""
    parameters = list(function.parameters()) if isinstance(function, nn.Module) else []
    return x.to(parameters[0]) if parameters else x


def _check_counts(scalars, gates, gated) -> None:
    for name, irreps in (("irreps_scalars", scalars), ("irreps_gates", gates)):
        if any(ir.l > 0 for _, ir in irreps):
            raise InputError(f"Gate: {name} is '{irreps}': only scalars (0e, 0o) pass through a function")
    if gates.num_irreps != gated.num_irreps:
        raise InputError(
            f"Gate: irreps_gates '{gates}' has {gates.num_irreps} scalars, irreps_gated '{gated}' "
            f"{gated.num_irreps} copies: give one gate for each copy"
        )
    if not (scalars.dim or gated.dim):
        raise InputError("Gate: irreps_scalars and irreps_gated are both empty")


def _activations(name: str, irreps, functions) -> tuple[nn.ModuleList, object]:
    """Scaled functions, one per entry of the irreps, and the irreps that they give."""
    functions = [functions] * len(irreps) if callable(functions) else list(functions or [])
    if len(functions) != len(irreps):
        raise InputError(f"Gate: {name} has {len(functions)} functions for '{irreps}': give {len(irreps)}, or one")
    out = []
    for (mul, ir), function in zip(irreps, functions, strict=True):
        p = ir.p if function is None or ir.p == 1 else parity(function)
        if p == 0:
            called = getattr(function, "__name__", function)
            raise InputError(f"Gate: {called} in {name} is neither even nor odd, so inversion forbids it on {ir}")
        out.append((mul, (0, p)))
    return nn.ModuleList(map(Activation, functions)), as_irreps(out)


def _gated_irreps(gates, gated) -> tuple:
    """The irreps of gates times gated, cut where the parity of the gates changes, and the multiplicities of gated."""
    parities = [ir.p for mul, ir in gates for _ in range(mul)]
    out, start = [], 0
    for mul, ir in gated:
        for p in parities[start : start + mul]:
            if out and out[-1][1:] == (start, (ir.l, ir.p * p)):
                out[-1] = (out[-1][0] + 1, *out[-1][1:])
            else:
                out.append((1, start, (ir.l, ir.p * p)))
        start += mul
    return as_irreps([(mul, ir) for mul, _, ir in out]), [mul for mul, _ in gated]
