"""Weighted powers of densities by csrc/cuda/density_product.cu; the schemas are in ops/density_product.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.ops.cuda import module
from equitensor.ops.cuda.edges import Remembered, assert_below
from equitensor.ops.cuda.proof import Draw, few
from equitensor.ops.cuda.source import CPP_TYPES, constants, source, table
from equitensor.ops.cuda.sparse_tables import product_table

FILE, THREADS = "density_product.cu", 128
PLANS = (("ByFirst", 0), ("BySecond", 1), ("Product", 2))


class Operands(NamedTuple):
    """x (n, d, C), weight (elements, order, degrees or 1, C), mix (paths, C)."""

    x: Tensor
    weight: Tensor
    mix: Tensor | None


class Tangents(NamedTuple):
    """Of the operands; None where they are zero."""

    x: Tensor | None
    weight: Tensor | None
    mix: Tensor | None


class Form(NamedTuple):
    """What is computed: which of dx, dweight, dmix and the output, and whether the values or their tangents."""

    invariants: bool
    symmetric: bool
    tangent: bool
    wanted: tuple[bool, bool, bool, bool]


class Compiled:
    """A tensor (3, 4, t) as `sort_entries` lays it out, and the texts of its kernels so far."""

    def __init__(self, index: Tensor, coefficients: Tensor) -> None:
        self.index, self.coefficients = index.cpu(), coefficients.cpu()
        self.texts: dict[tuple, str] = {}

    def get(self, at: Operands, form: Form) -> module.Kernels:
        paths = 0 if at.mix is None else len(at.mix)
        key = (*at.x.shape[1:], *at.weight.shape[1:3], paths, at.x.dtype, form)
        if key not in self.texts:
            self.texts[key] = self._problem(*key)
        return module.load(source(FILE, self.texts[key]), at.x.device)

    def _problem(self, components, channels, order, degrees, paths, dtype, form: Form) -> str:
        text = f"using T = {CPP_TYPES[dtype]};\n" + constants(
            **{"COMPONENTS": components, "CHANNELS": channels, "ORDER": order, "DEGREES": degrees},
            **{"PATHS": max(1, paths), "MIXED": paths > 0, "TANGENT": form.tangent, "THREADS": THREADS},
            **{"INVARIANTS": form.invariants, "SYMMETRIC": form.symmetric},
            **{f"WANTED_{n}": w for n, w in zip(("X", "WEIGHT", "MIX", "OUT"), form.wanted, strict=True)},
        )
        degree = [l for l in range(round(components**0.5)) for _ in range(2 * l + 1)]
        text += table("constexpr int", "DEGREE_OF", degree)
        return text + "".join(
            product_table(name, self.index, self.coefficients, components, slot) for name, slot in PLANS
        )


_compiled = Remembered(Compiled)


def small(operands: int) -> Callable[[Draw, tuple], tuple]:
    """Of an operator whose first arguments, so many, are x, weight, mix and others of the shapes of x, weight or mix.

    Those behind them are species and what does not depend on the number of atoms.
    """

    def make(draw: Draw, arguments: tuple) -> tuple:
        x, weight, mix = arguments[:3]
        atoms, invariants = few(x.shape[2]), arguments[operands + 3]
        g = (atoms, 1 if invariants else x.shape[1], x.shape[2])
        of_mix = () if mix is None else mix.shape
        shapes = [(atoms, *x.shape[1:]), weight.shape, of_mix, g, (atoms, *x.shape[1:]), weight.shape, of_mix]
        pairs = zip(shapes, arguments[:operands], strict=False)
        tensors = [None if t is None else draw.normal(*shape) for shape, t in pairs]
        return (*tensors, draw.integers(0, len(weight), atoms), *arguments[operands + 1 :])

    return make


def values(x, weight, mix, species, index, coefficients, invariants, symmetric):
    """(n, d, C), or for invariants (n, 1, C)."""
    form = Form(invariants, symmetric, False, (False, False, False, True))
    return _run(Operands(x, weight, mix), None, Tangents(None, None, None), species, index, coefficients, form)[3]


def first(x, weight, mix, g, species, index, coefficients, invariants, symmetric, wanted):
    """The gradients; those that are not wanted are empty."""
    form = Form(invariants, symmetric, False, (wanted[0], wanted[1], wanted[2] and mix is not None, False))
    return _run(Operands(x, weight, mix), g, Tangents(None, None, None), species, index, coefficients, form)[:3]


def second(x, weight, mix, g, h_x, h_weight, h_mix, species, index, coefficients, invariants, symmetric, wanted):
    """Forward-mode derivatives (JVP) of the gradients, and that of the output."""
    form = Form(invariants, symmetric, True, (wanted[0], wanted[1], wanted[2] and mix is not None, wanted[3]))

    return _run(Operands(x, weight, mix), g, Tangents(h_x, h_weight, h_mix), species, index, coefficients, form)


def _run(at: Operands, g: Tensor | None, tangents: Tangents, species, index, coefficients, form: Form) -> tuple:
    atoms, components, channels = at.x.shape
    width = 1 if form.invariants else components
    paths = 0 if at.mix is None else len(at.mix)
    shapes = (at.x.shape[1:], at.weight.shape[1:], (paths, channels), (width, channels))
    out = [at.x.new_zeros((atoms, *shape) if want else 0) for shape, want in zip(shapes, form.wanted, strict=True)]
    if atoms and channels and any(form.wanted):
        arrays = [None if t is None else t.contiguous() for t in (species, *at, g, *tangents)]
        blocks = -(-atoms * channels // THREADS)
        assert_below(species, len(at.weight), f"an atom's species is not among the {len(at.weight)}")
        kernels = _compiled(index, coefficients).get(at, form)
        kernels.launch("density_product", (blocks, 1, 1), (THREADS, 1, 1), (atoms, *arrays, out[3], *out[:3]))
    if form.wanted[1]:
        out[1] = _sum_by_species(out[1], species, len(at.weight))
    return out[0], out[1], out[2].sum(0) if form.wanted[2] else out[2], out[3]


def _sum_by_species(rows: Tensor, species: Tensor, elements: int) -> Tensor:
    """(n, ...) to (elements, ...), always in the same order."""
    members = torch.arange(elements, device=species.device).unsqueeze(1) == species
    return (members.to(rows.dtype) @ rows.flatten(1)).view(elements, *rows.shape[1:])
