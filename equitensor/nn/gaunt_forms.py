"""Three evaluations of one Gaunt map on channels-last features (..., d, C): chosen by cost, equal to rounding.

Each brings the operands to where the product is pointwise (`first`, `second`) and couples them there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.nn.tables import Tables
from equitensor.o3 import gaunt_grid, poisson_grid
from equitensor.o3.coupling_tensor import coupling_tensor, group_pairs, mirror_classes
from equitensor.o3.fourier_tables import fourier_tables
from equitensor.ops.availability import has_kernel
from equitensor.ops.channel_product import channel_product, sparse_entries
from equitensor.ops.contraction import transform
from equitensor.ops.direct_product import OPERANDS, PairTable, direct_product
from equitensor.ops.fourier_product import from_torus, to_torus

PATHS = ("even", "all")


class GridForm(Tables):
    """Values at quadrature points (..., R, C); for odd paths tangential derivatives too."""

    def __init__(self, spaces: list, odd: bool) -> None:
        super().__init__()
        grids = [gaunt_grid(*spaces)] + ([poisson_grid(*spaces)] if odd else [])
        for name, tables in zip(("a", "b", "c"), zip(*grids, strict=True), strict=True):
            self.add_table(name, torch.cat(tables))

    def first(self, x: Tensor) -> Tensor:
        return transform(self.a, x)

    def second(self, y: Tensor) -> Tensor:
        return transform(self.b, y)

    def couple(self, first: Tensor, second: Tensor) -> Tensor:
        return transform(self.c.T, first * second)

    def describe(self) -> str:
        return f"{len(self.a)} points"


class FastestForm(GridForm):
    """The compiled sparse contraction where there is one for these tensors, else the grid."""

    def __init__(self, spaces: list, odd: bool) -> None:
        super().__init__(spaces, odd)
        first, second, out = spaces
        tensor = coupling_tensor(first, second, out, odd)
        d1, d2, d3 = tensor.shape
        self.sizes = (d1, d2, d3)
        index, coefficients = sparse_entries(tensor)
        self.register_buffer("index", index, persistent=False)
        self.coefficients = coefficients  # float64 in every dtype; the operator rounds them

    def first(self, x: Tensor) -> Tensor:
        return x if has_kernel(x, on_gpu=True) else super().first(x)

    def second(self, y: Tensor) -> Tensor:
        return y if has_kernel(y, on_gpu=True) else super().second(y)

    def couple(self, first: Tensor, second: Tensor) -> Tensor:
        if not has_kernel(first, second, on_gpu=True):
            return super().couple(first, second)
        lead = torch.broadcast_shapes(first.shape[:-2], second.shape[:-2])
        x, y = (v.expand(*lead, *v.shape[-2:]).reshape(-1, *v.shape[-2:]) for v in (first, second))
        z = channel_product(x, y, self.index, self.coefficients, self.sizes)
        return z.view(*lead, *z.shape[-2:])

    def describe(self) -> str:
        return f"{self.index.shape[-1]} couplings (compiled) or {super().describe()}"


class FourierForm(Tables):
    """Samples on the torus (..., C, terms, phi, theta), which an FFT makes of 2D Fourier coefficients."""

    def __init__(self, spaces: list, odd: bool) -> None:
        super().__init__()
        first, second, out = spaces
        tables = fourier_tables(first, second, out, odd)
        self.samples, self.terms = tables.samples, tables.terms
        for name in ("first", "second", "out"):
            index, matrix = getattr(tables, name)
            self.add_table(f"{name}_index", index)
            self.add_table(f"{name}_matrix", matrix)

    def first(self, x: Tensor) -> Tensor:
        return self._evaluate(x, self.first_index, self.first_matrix)

    def second(self, y: Tensor) -> Tensor:
        return self._evaluate(y, self.second_index, self.second_matrix)

    def couple(self, first: Tensor, second: Tensor) -> Tensor:
        return self.integrate(first * second)

    def convolve(self, x: Tensor, filters: Tensor, edge_index: Tensor) -> Tensor:
        """z_i = sum over edges j -> i of x_j (x) filter_ij: (n, d3, C) of (n, d1, C) and (e, d2, C)."""
        sender, receiver = edge_index
        nodes = self.first(x)
        messages = nodes.index_select(0, sender) * self.second(filters)
        return self.integrate(nodes.new_zeros(nodes.shape).index_add(0, receiver, messages))

    def integrate(self, values: Tensor) -> Tensor:
        z = from_torus(values.flatten(0, -4), self.out_index, self.out_matrix)
        return z.view(*values.shape[:-3], len(self.out_index)).transpose(-1, -2)

    def _evaluate(self, x: Tensor, index: Tensor, matrix: Tensor) -> Tensor:
        components = x.transpose(-1, -2)
        values = to_torus(components.flatten(0, -2), index, matrix, self.samples)
        return values.view(*components.shape[:-1], *values.shape[1:])

    def describe(self) -> str:
        return f"{self.samples[0]} x {self.samples[1]} samples of {self.terms} products, by FFT"


class DirectForm(Tables):
    """Contraction with the sparse Gaunt tensor."""

    def __init__(self, spaces: list, odd: bool) -> None:
        super().__init__()
        first, second, out = spaces
        tensor = coupling_tensor(first, second, out, odd)
        self.entries = int(tensor.count_nonzero())
        classes = [mirror_classes(irs) for irs in spaces]
        for slot, (p, q) in enumerate(OPERANDS):
            table = PairTable(*group_pairs(tensor.permute(p, q, slot), (classes[p], classes[q], classes[slot])))
            for name, part in table._asdict().items():
                self.add_table(f"{name}_{slot}", part)

    def first(self, x: Tensor) -> Tensor:
        return x

    def second(self, y: Tensor) -> Tensor:
        return y

    def couple(self, first: Tensor, second: Tensor) -> Tensor:
        lead = torch.broadcast_shapes(first.shape[:-2], second.shape[:-2])
        x, y = (v.expand(*lead, *v.shape[-2:]).movedim(-2, 0).flatten(1) for v in (first, second))
        of_x, of_y, of_z = (PairTable(*(getattr(self, f"{n}_{slot}") for n in PairTable._fields)) for slot in range(3))
        return direct_product(x, y, (of_x, of_y, of_z)).unflatten(1, (*lead, first.shape[-1])).movedim(0, -2)

    def convolve(self, x: Tensor, filters: Tensor, edge_index: Tensor) -> Tensor:
        """As that of FourierForm."""
        sender, receiver = edge_index
        messages = self.couple(x.index_select(0, sender), filters)
        return messages.new_zeros(x.shape[0], *messages.shape[1:]).index_add(0, receiver, messages)

    def describe(self) -> str:
        return f"{self.entries} non-zero couplings"


FORMS = {"fastest": FastestForm, "grid": GridForm, "fourier": FourierForm, "direct": DirectForm}


def check_gaunt_options(paths: str, form: str, forms=tuple(FORMS)) -> None:
    """Raise InputError for an unknown set of paths or an unknown form."""
    for name, value, known in (("paths", paths, PATHS), ("form", form, forms)):
        if value not in known:
            raise InputError(f"{name} is {value!r}: choose one of {', '.join(known)}")
