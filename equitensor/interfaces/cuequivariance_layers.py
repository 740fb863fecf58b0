"""Ours in the place of cuEquivariance's layers: the same calls, layouts, parameters, values and state dict.

A layer of theirs is a polynomial, written out in its module: which segments of its operands each path joins, with what
constants. Ours are planned from that, so neither their conventions nor their package are needed here. The products of
two features are in cuequivariance_products.py.
TorchScript reads the annotations, unquoted: no `from __future__ import annotations` here.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.interfaces.cuequivariance_polynomial import Polynomial, polynomial_term
from equitensor.interfaces.e3nn import linear
from equitensor.interfaces.e3nn.linear_plan import LinearInstruction, Output, add_term
from equitensor.nn.many_body_coupling import ElementPolynomials
from equitensor.o3 import as_irreps

if TYPE_CHECKING:
    from e3nn.o3 import Irreps


class Layer(nn.Module):
    """Base of ours: parameter and constants of one of theirs, under the same names.

    Args:
        like: has the dtype and the device of what is computed.
    """

    __e3nn_compile_mode__ = "script"  # e3nn.util.jit.compile reads it

    if TYPE_CHECKING:  # TorchScript reads what stands here, too, and knows no Parameter
        weight: nn.Parameter | None
        _like: Tensor
        irreps_in: Irreps
        irreps_in1: Irreps
        irreps_in2: Irreps
        irreps_out: Irreps
        shared_weights: bool

    def __init__(self, theirs: Any, polynomial: Polynomial, like: Tensor) -> None:
        super().__init__()
        self._polynomial = polynomial
        self.register_buffer("_like", like.detach().new_empty(0), persistent=False)
        self.register_parameter("weight", theirs.weight)
        self._note(theirs)
        self._plan()
        for name, child in _constants_of(theirs).named_children():
            self.add_module(name, child)
        self.train(theirs.training)

    def _note(self, theirs: Any) -> None:
        """Attributes and layouts."""
        for name in ("irreps_in", "irreps_in1", "irreps_in2", "irreps_out"):
            if hasattr(theirs, name):
                setattr(self, name, as_irreps(str(getattr(theirs, name))))
        for name in ("weight_numel", "shared_weights", "internal_weights"):
            if hasattr(theirs, name):
                setattr(self, name, getattr(theirs, name))

    def _plan(self) -> None:
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors) -> None:
        """Constants that are stored win over those it was made with, as in theirs."""
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)
        stored = {name: state_dict[prefix + name] for name in self._polynomial.constants if prefix + name in state_dict}
        polynomial = self._polynomial.with_stored(stored)
        if polynomial is not self._polynomial:
            before, self._polynomial = self._polynomial, polynomial
            try:
                self._plan()
            except InputError as error:
                self._polynomial = before
                errors.append(f"{prefix}: {error}")


def _constants_of(theirs: nn.Module) -> nn.Module:
    """Nothing but the persistent buffers below a module, under their names."""
    buffers = nn.Module()
    for name, buffer in theirs.named_buffers(recurse=False):
        if name not in theirs._non_persistent_buffers_set:
            buffers.register_buffer(name, buffer.detach().clone())
    for name, child in theirs.named_children():
        own = _constants_of(child)
        if own._buffers or own._modules:
            buffers.add_module(name, own)
    return buffers


class Unstored:
    """What is inside a layer holds nothing that belongs in a state dict.

    No `nn.Module`: TorchScript would look for annotations there first.
    """

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        pass

    def _load_from_state_dict(self, *args) -> None:
        pass


class UnstoredLinear(Unstored, linear.Linear):
    """`Linear` inside a layer."""


class Linear(Layer):
    """Ours for cuEquivariance's layer of that name, with weights of its own of one class."""

    if TYPE_CHECKING:
        weight: nn.Parameter

    _outputs: list[Output]
    _shapes: list[list[tuple[int, int]]]

    def _note(self, theirs: Any) -> None:
        super()._note(theirs)
        before, after = theirs.transpose_in.source.name, theirs.transpose_out.target.name
        self._components_first = before == after == "ir_mul"
        self._shapes = [shapes(self.irreps_in, before, "mul_ir"), shapes(self.irreps_out, "mul_ir", after)]

    def _plan(self) -> None:
        items = []
        for (_, i, j), constant in sorted(self._polynomial.paths(0), key=lambda path: path[0][0]):
            shape = (self.irreps_in[i].mul, self.irreps_out[j].mul)
            items.append(LinearInstruction(i, j, shape, float(constant)))
        pairs = [(item.i_in, item.i_out) for item in items]
        self.linear = UnstoredLinear(
            self.irreps_in, self.irreps_out, internal_weights=False, shared_weights=True, instructions=pairs
        )
        self.linear.instructions = items
        self.linear._plan()
        self.linear.to(self._like)
        self._outputs = [Output(ir.dim, mul, [], [], [], [], -1) for mul, ir in self.irreps_out]
        for part, item in enumerate(items):
            add_term(self._outputs[item.i_out], item.i_in, item.path_shape[0], part, item.path_weight)
        self._sizes = [mul * ir.dim for mul, ir in self.irreps_in]
        self._weight_sizes = [math.prod(item.path_shape) for item in items]

    def forward(self, x: Tensor, weight: Tensor | None = None, weight_indices: Tensor | None = None) -> Tensor:
        """(n, irreps_in.dim) -> (n, irreps_out.dim), each in its layout."""
        assert weight is None, "Linear has weights of its own: give none in the call"
        own = self.weight.reshape(-1)
        if self._components_first:
            return self._mix(x, own)
        return transposed(self.linear(transposed(x, self._shapes[0]), own), self._shapes[1])

    def _mix(self, x: Tensor, weight: Tensor) -> Tensor:
        """Both layouts ir_mul: rows of a matrix product are the components of every item."""
        n = x.shape[0]
        blocks, parts = x.split(self._sizes, dim=1), weight.split(self._weight_sizes)
        pieces: list[Tensor] = []
        for out in self._outputs:
            if len(out.slots) == 0:
                pieces.append(x.new_zeros([n, out.dim * out.mul]))
                continue
            rows: list[Tensor] = []
            matrices: list[Tensor] = []
            for slot, copies, part, factor in zip(out.slots, out.copies, out.parts, out.factors):  # noqa: B905
                rows.append(blocks[slot].reshape([n, out.dim, copies]))
                matrices.append((parts[part] * factor).view([copies, out.mul]))
            joined = rows[0] if len(rows) == 1 else torch.cat(rows, dim=2)
            matrix = matrices[0] if len(matrices) == 1 else torch.cat(matrices)
            pieces.append((joined.reshape([n * out.dim, matrix.shape[0]]) @ matrix).reshape([n, out.dim * out.mul]))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)

    def __repr__(self) -> str:
        return repr(self.linear).replace(type(self.linear).__name__, type(self).__name__, 1)


class SymmetricContraction(Layer):
    """Ours for cuEquivariance's layer of that name, in its own basis of paths or in MACE's."""

    if TYPE_CHECKING:
        weight: nn.Parameter
        projection: Tensor | None

    _shapes: list[list[tuple[int, int]]]

    def _note(self, theirs: Any) -> None:
        super()._note(theirs)
        self.contraction_degree, self.num_elements = theirs.contraction_degree, theirs.num_elements
        self.weight_shape = theirs.weight_shape
        self.register_buffer("projection", theirs.projection)
        before, after = theirs.transpose_in.source.name, theirs.transpose_out.target.name
        self._shapes = [shapes(self.irreps_in, before, "ir_mul"), shapes(self.irreps_out, "ir_mul", after)]
        self._channels, self._d = self.irreps_in[0].mul, sum(ir.dim for _, ir in self.irreps_in)

    def _plan(self) -> None:
        projection = self._polynomial.constants.get("projection")
        paths, d_out = self.weight_shape[0], sum(ir.dim for _, ir in self.irreps_out)
        by_order = map(self._polynomial.paths, range(len(self._polynomial.segments)))
        terms = [polynomial_term(own, projection, d_out) for own in by_order]
        exact = self.projection is None or self.projection.dtype == torch.float64
        rounding = 1e-12 if exact else 1e-6
        polynomials = ElementPolynomials(terms, paths, self._d, d_out, channels_last=True, rounding=rounding)
        self.polynomials = polynomials.to(self._like)

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        """x (atoms, irreps_in.dim), indices (atoms,) of their elements -> (atoms, irreps_out.dim)."""
        rows = transposed(x, self._shapes[0]).reshape([x.shape[0], self._d, self._channels])
        return transposed(self.polynomials(rows, self.weight, indices.long()).flatten(1), self._shapes[1])

    def __repr__(self) -> str:
        sizes = f"{self.weight_shape[0]} paths | {self.num_elements} elements"
        return f"SymmetricContraction({self.irreps_in} -> {self.irreps_out} | {sizes})"


def shapes(irreps, before: str, after: str) -> list[tuple[int, int]]:
    """(rows, columns) of each block for `transposed`, from one layout to another; none where nothing changes."""
    sizes = [(mul, ir.dim) if before == "mul_ir" else (ir.dim, mul) for mul, ir in irreps]
    return [] if before == after or all(1 in shape for shape in sizes) else sizes


def transposed(x: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
    """Blocks (rows, columns) in the last dimension as (columns, rows); x as it is where there are none."""
    if len(shapes) == 0:
        return x
    parts: list[Tensor] = []
    start = 0
    for rows, columns in shapes:
        block = x.narrow(-1, start, rows * columns)
        parts.append(block.unflatten(-1, [rows, columns]).transpose(-2, -1).flatten(-2))
        start += rows * columns
    return torch.cat(parts, dim=-1)
