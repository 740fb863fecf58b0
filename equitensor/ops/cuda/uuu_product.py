"""Products channel by channel by csrc/cuda/uuu_product.cu; schemas and reference are in ops/uuu_product.py."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.ops.cuda import module
from equitensor.ops.cuda.edges import Remembered
from equitensor.ops.cuda.proof import Draw, few
from equitensor.ops.cuda.source import CPP_TYPES, Unsupported, constants, source, table
from equitensor.ops.cuda.sparse_tables import MOST_ENTRIES
from equitensor.ops.uuu_workspace import Layout, UUUPath

FILE, THREADS = "uuu_product.cu", 128


class Form(NamedTuple):
    """What is computed: which of dx, dy, dw and z, and whether the values or their tangents."""

    tangent: bool
    wanted: tuple[bool, bool, bool, bool]
    own: bool  # weights of each item
    each: bool  # of each channel
    dtype: torch.dtype


class Compiled:
    """The paths of a product as tables, and the texts of its kernels so far."""

    def __init__(self, coupling: Tensor, plan: Tensor, layout: tuple) -> None:
        self.layout = Layout(*layout)
        paths = [UUUPath(*row) for row in plan.tolist()]
        blocks = coupling.cpu().split([p.i * p.j * p.k for p in paths])
        self.tables = _tables(paths, [b.view(p.k, p.i, p.j) for p, b in zip(paths, blocks, strict=True)])
        self.paths, self.texts = len(paths), {}

    def get(self, device: torch.device, form: Form) -> module.Kernels:
        if form not in self.texts:
            self.texts[form] = self._problem(form)
        return module.load(source(FILE, self.texts[form]), device)

    def _problem(self, form: Form) -> str:
        sizes = zip("XYZ", (self.layout.sizes_x, self.layout.sizes_y, self.layout.sizes_z), strict=True)
        places = {name: _places(of, self.layout) for name, of in sizes}
        flags = {f"WANTED_{name}": want for name, want in zip("XYWZ", form.wanted, strict=True)}
        text = f"using T = {CPP_TYPES[form.dtype]};\n" + constants(
            **{f"WIDTH_{name}": len(listed) for name, listed in places.items()},
            **{"CHANNELS": self.layout.channels, "PATHS": self.paths, "THREADS": THREADS},
            **{"TANGENT": form.tangent, "OWN": form.own, "EACH": form.each, **flags},
        )
        text += "".join(table("constexpr Component", f"PLACE_{name}", listed) for name, listed in places.items())
        return text + self.tables


_compiled = Remembered(Compiled)


def small(draw: Draw, operands: tuple, constants: tuple) -> tuple[tuple, tuple]:
    (x, y, w), layout = operands, Layout(*constants[2:])
    items = few(layout.channels)
    weights = draw.normal(len(w), items if w.shape[1] > 1 else 1, w.shape[2])
    return (draw.rows(x, items), draw.rows(y, items), weights), constants


def values(x, y, w, coupling, plan, *layout):
    return _run((x, y, w), None, (None,) * 3, coupling, plan, layout, (False, False, False, True))[3]


def gradients(x, y, w, g, need_x, need_y, need_w, coupling, plan, *layout):
    return _run((x, y, w), g, (None,) * 3, coupling, plan, layout, (need_x, need_y, need_w, False))[:3]


def tangents(x, y, w, g, h_x, h_y, h_w, coupling, plan, *layout):
    of_x, of_y, of_w, of_g = _run((x, y, w), g, (h_x, h_y, h_w), coupling, plan, layout, (True,) * 4, tangent=True)
    return of_g, of_x, of_y, of_w


def _run(at, g, tangents, coupling, plan, layout, wanted, tangent=False) -> tuple[Tensor, ...]:
    x, y, w = at
    items, shape_z = len(x), Layout(*layout).shape(x)
    channels = Layout(*layout).channels
    shapes = (x.shape, y.shape, (len(w), items, channels), shape_z)
    out = [x.new_zeros(shape if want else 0) for shape, want in zip(shapes, wanted, strict=True)]
    if items and channels and len(plan):
        own, each = w.shape[1] > 1, w.shape[2] > 1
        kernels = _compiled(coupling, plan, layout).get(x.device, Form(tangent, wanted, own, each, x.dtype))
        arrays = [None if t is None else t.contiguous() for t in (*at, g, *tangents)]
        blocks = -(-items * channels // THREADS)
        kernels.launch("uuu_product", (blocks, 1, 1), (THREADS, 1, 1), (items, *arrays, out[3], *out[:3]))
    if wanted[2]:
        out[2] = out[2].sum_to_size(w.shape)
    return tuple(out)


def _places(sizes: list[int], layout: Layout) -> list[tuple[int, int]]:
    """Start and stride of each component."""
    places, start, channels = [], 0, layout.channels
    for size in sizes:
        last = [((start + m) * channels, 1) for m in range(size)]
        places += last if layout.channels_last else [(start * channels + m, size) for m in range(size)]
        start += size
    return places


def _tables(paths: list[UUUPath], couplings: list[Tensor]) -> str:
    """PATH ranges of TERMs, ranges of GROUPs, ranges of entries COLUMN and FACTOR."""
    if len({p.w for p in paths}) < len(paths):
        raise Unsupported("two paths share a row of weights")
    rows, terms, groups, entries = [], [], [], []
    for p, coupling in zip(paths, couplings, strict=True):
        first_term = len(terms)
        for k in range(p.k):
            first_group = len(groups)
            for i in range(p.i):
                nonzero = [(p.y + j, value) for j, value in enumerate(coupling[k, i].tolist()) if value]
                if nonzero:
                    groups.append((p.x + i, len(entries), len(entries) + len(nonzero)))
                    entries += nonzero
            terms.append((p.z + k, first_group, len(groups)))
        rows.append((p.w, first_term, len(terms)))
    if len(entries) > MOST_ENTRIES:
        raise Unsupported(f"the couplings have {len(entries)} entries, kernels take {MOST_ENTRIES}")
    tables = {"Path PATH": rows, "Term TERM": terms, "Group GROUP": groups}
    text = "".join(table(f"constexpr {kind.split()[0]}", kind.split()[1], rows) for kind, rows in tables.items())
    text += table("constexpr int", "COLUMN", [column for column, _ in entries])
    return text + table("constexpr T", "FACTOR", [value for _, value in entries])
