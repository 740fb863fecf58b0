"""Sums and read-outs along edges by csrc/cuda/edge_form.cu; their schemas are in ops/edge_form.py."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.ops.cuda import module
from equitensor.ops.cuda.edges import assert_below
from equitensor.ops.cuda.proof import Draw, few
from equitensor.ops.cuda.source import CPP_TYPES, Unsupported, constants, source
from equitensor.ops.cuda.threads import block_shape

FILE, SLOTS, MOST_COMPONENTS = "edge_form.cu", 8, 64


class Form(NamedTuple):
    """Which derivative: the gradient, or its JVP with the tangents that are not None; the gradients that are wanted."""

    first: bool
    moved: tuple[bool, ...]
    wanted: tuple[bool, ...]
    reversed: bool


def gather(harmonics: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """dF/dG (n, d, C)."""
    return _run((harmonics, a, b, None), None, None, (False, False, False, True))[3]


def read(harmonics: Tensor, features: Tensor, factor: Tensor, rev: Tensor) -> Tensor:
    """dF/db (n width, C) with a = factor."""
    return _run((harmonics, factor, factor, features), rev, None, (False, False, True, False))[2]


def first(harmonics, a, b, features, rev, wanted):
    """The gradients of F; those that are not wanted are empty."""
    return _run((harmonics, a, b, features), rev, None, wanted)


def second(harmonics, a, b, features, rev, h_harmonics, h_a, h_b, h_features, wanted):
    """The gradients of the JVP of F."""
    return _run((harmonics, a, b, features), rev, (h_harmonics, h_a, h_b, h_features), wanted)


def small(kinds: str) -> Callable[[Draw, tuple], tuple]:
    """Of an operator whose arguments are harmonics Y, rows R, features F and reverse edges I, a letter each.

    Slots are more than a thread takes at once.
    """

    def make(draw: Draw, arguments: tuple) -> tuple:
        components, channels = arguments[0].shape[2], arguments[kinds.index("R")].shape[1]
        atoms, width = few(channels), SLOTS + 1
        shapes = {"Y": (atoms, width, components), "R": (atoms * width, channels), "F": (atoms, components, channels)}
        rev = torch.arange(atoms * width, device=draw.device).flip(0)
        pairs = zip(kinds, arguments, strict=False)
        tensors = [None if t is None else rev if kind == "I" else draw.normal(*shapes[kind]) for kind, t in pairs]
        return (*tensors, *arguments[len(kinds) :])

    return make


def _run(operands: tuple, rev: Tensor | None, tangents: tuple | None, wanted) -> tuple[Tensor, ...]:
    harmonics, rows = operands[:2]
    (atoms, width, components), channels = harmonics.shape, rows.shape[1]
    if components > MOST_COMPONENTS:
        raise Unsupported(f"{components} components are more than a thread can hold ({MOST_COMPONENTS})")
    moved = tuple(t is not None for t in tangents or (None,) * 4)
    form = Form(tangents is None, moved, tuple(wanted), rev is not None)
    lanes, block_rows, tiles = block_shape(channels)
    shapes = ((tiles, *harmonics.shape), rows.shape, rows.shape, (atoms, components, channels))
    out = [harmonics.new_zeros(shape if want else 0) for shape, want in zip(shapes, wanted, strict=True)]
    if atoms and width and channels:
        if rev is not None:
            assert_below(rev, atoms * width, f"the reverse of an edge is not among the {atoms * width}")
        kernels = _kernels(components, channels, harmonics.dtype, form, harmonics.device)
        tensors = [None if t is None else t.contiguous() for t in (rev, *operands, *(tangents or (None,) * 4))]
        grid, block = (-(-atoms // block_rows), tiles, 1), (lanes, block_rows, 1)
        kernels.launch("edge_form", grid, block, (atoms, width, *tensors, *out))
    return (out[0].sum(0) if wanted[0] else out[0], *out[1:])


@functools.lru_cache(maxsize=256)
def _problem(components: int, channels: int, dtype: torch.dtype, form: Form) -> str:
    lanes, rows, _ = block_shape(channels)
    flags = {f"MOVED_{name}": moved for name, moved in zip("YABG", form.moved, strict=True)}
    flags |= {f"WANTED_{name}": wanted for name, wanted in zip("YABG", form.wanted, strict=True)}
    sizes = {"COMPONENTS": components, "CHANNELS": channels, "LANES": lanes, "ROWS": rows, "SLOTS": SLOTS}
    text = constants(FIRST=form.first, REVERSED=form.reversed, **flags, **sizes, THREADS=lanes * rows)
    return f"using T = {CPP_TYPES[dtype]};\n{text}"


def _kernels(components: int, channels: int, dtype: torch.dtype, form: Form, device: torch.device) -> module.Kernels:
    return module.load(source(FILE, _problem(components, channels, dtype, form)), device)
