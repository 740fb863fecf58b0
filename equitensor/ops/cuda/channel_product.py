"""The sparse product of channels by csrc/cuda/channel_product.cu; its schema is in ops/channel_product.py."""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.cuda import module
from equitensor.ops.cuda.edges import Remembered
from equitensor.ops.cuda.proof import Draw, Proof, few
from equitensor.ops.cuda.source import CPP_TYPES, constants, source
from equitensor.ops.cuda.sparse_tables import product_table
from equitensor.ops.direct_product import OPERANDS

FILE, THREADS = "channel_product.cu", 128


class Compiled:
    """A tensor, and the texts of its kernels so far by slot, channels and precision."""

    def __init__(self, index: Tensor, coefficients: Tensor, sizes: tuple[int, ...]) -> None:
        self.index, self.coefficients, self.sizes = index.cpu(), coefficients.cpu(), sizes
        self.texts: dict[tuple, str] = {}

    def get(self, x: Tensor, slot: int) -> module.Kernels:
        key = (slot, x.shape[2], x.dtype)
        if key not in self.texts:
            self.texts[key] = self._problem(*key)
        return module.load(source(FILE, self.texts[key]), x.device)

    def _problem(self, slot: int, channels: int, dtype: torch.dtype) -> str:
        first, second = (self.sizes[operand] for operand in OPERANDS[slot])
        widths = {"WIDTH_X": first, "WIDTH_Y": second, "WIDTH_Z": self.sizes[slot]}
        text = f"using T = {CPP_TYPES[dtype]};\n" + constants(**widths, CHANNELS=channels, THREADS=THREADS)
        return text + product_table("Product", self.index, self.coefficients, self.sizes[slot], slot)


_compiled = Remembered(Compiled)


def product(x: Tensor, y: Tensor, index: Tensor, coefficients: Tensor, sizes, slot: int) -> Tensor:
    """x (n, d, C) and y (n, d', C) of the other two slots to (n, sizes[slot], C)."""
    x, y = x.contiguous(), y.contiguous()
    z = x.new_empty(len(x), sizes[slot], x.shape[2])
    if z.numel():
        kernels = _compiled(index, coefficients, tuple(sizes)).get(x, slot)
        blocks = -(-len(x) * x.shape[2] // THREADS)
        kernels.launch("channel_product", (blocks, 1, 1), (THREADS, 1, 1), (len(x), x, y, z))
    return z


def small(draw: Draw, arguments: tuple) -> tuple:
    x, y, *constants = arguments
    items = few(x.shape[2])
    return (draw.rows(x, items), draw.rows(y, items), *constants)


def reference(x: Tensor, y: Tensor, index: Tensor, coefficients: Tensor, sizes, slot: int) -> Tensor:
    """The same in plain torch."""
    to, first, second, _ = index[slot].to(x.device, torch.int64)
    terms = x[:, first] * y[:, second] * coefficients[slot].to(x).unsqueeze(1)
    return x.new_zeros(len(x), sizes[slot], x.shape[2]).index_add_(1, to, terms)


PROOF = Proof(product, reference, small)
