"""`Linear`: e3nn's, by its signature, attributes, state dict and values; one matrix product per output irrep.

TorchScript reads the annotations, unquoted: no `from __future__ import annotations` here.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from equitensor.interfaces.e3nn.instructions import OperandError, require
from equitensor.interfaces.e3nn.linear_plan import LinearInstruction, Output, plan
from equitensor.o3 import as_irreps
from equitensor.o3.irreps import IrrepsLike


class Linear(nn.Module):
    """z_w = sum_u w_uw x_u between equal irreps; see e3nn.o3.Linear for the arguments.

    Raises:
        InstructionError (an InputError and an AssertionError): arguments that contradict each other.
        IndexError, ValueError: instructions that name no slot, or join different irreps, as e3nn does.
        OperandError (an InputError and a RuntimeError): mixed dtypes or devices in a call.
    """

    __e3nn_compile_mode__ = "script"  # e3nn.util.jit.compile reads it

    instructions: list[Any]
    _outputs: list[Output]
    _sizes: list[int]
    _weight_sizes: list[int]

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_out: IrrepsLike,
        *,
        f_in: int | None = None,
        f_out: int | None = None,
        internal_weights: bool | None = None,
        shared_weights: bool | None = None,
        instructions: Sequence[tuple[int, int]] | None = None,
        biases: bool | Sequence[bool] = False,
        path_normalization: str = "element",
        _optimize_einsums: bool | None = None,
    ) -> None:
        super().__init__()
        rule = path_normalization
        require(rule in ("element", "path"), f"Linear: path_normalization is {rule!r}: element or path")
        require((f_in is None) == (f_out is None), f"Linear: f_in is {f_in}, f_out {f_out}: give both or neither")
        self.irreps_in, self.irreps_out = as_irreps(irreps_in), as_irreps(irreps_out)
        self.instructions = self._normalised(self._pairs(instructions), f_in, rule) + self._bias_terms(biases)
        self.weight_numel = sum(math.prod(i.path_shape) for i in self.instructions if i.i_in >= 0)
        self.bias_numel = sum(math.prod(i.path_shape) for i in self.instructions if i.i_in < 0)
        self._features = (f_in or 0, f_out or 0)
        self._set_up_weights(internal_weights, shared_weights)
        self._in_dim, self._out_dim = self.irreps_in.dim, self.irreps_out.dim
        self._plan()
        reached = {i.i_out for i in self.instructions if 0 not in i.path_shape}
        parts = [torch.full((mul * ir.dim,), float(i in reached)) for i, (mul, ir) in enumerate(self.irreps_out)]
        self.register_buffer("output_mask", torch.cat([*parts, torch.ones(0)]))

    def _pairs(self, given) -> list[tuple[int, int]]:
        spaces = (self.irreps_in, self.irreps_out)
        if given is None:
            both = ((i, j) for i in range(len(spaces[0])) for j in range(len(spaces[1])))
            return [(i, j) for i, j in both if spaces[0][i].ir == spaces[1][j].ir]
        for pair in given:
            for slot, space, name in zip(pair, spaces, ("irreps_in", "irreps_out"), strict=True):
                if not 0 <= slot < len(space):
                    raise IndexError(f"Linear: {slot} is not a valid index for {name} '{space}'")
            if spaces[0][pair[0]].ir != spaces[1][pair[1]].ir:
                raise ValueError(f"Linear: instruction {tuple(pair)} joins slots that do not have the same irrep")
        return [tuple(pair) for pair in given]

    def _normalised(self, pairs: list[tuple[int, int]], f_in: int | None, rule: str) -> list[LinearInstruction]:
        """Each path times (number of terms that its output sums)^(-1/2)."""
        instructions = []
        for i_in, i_out in pairs:
            together = [i for i, j in pairs if j == i_out]
            own = [i_in] * len(together)
            terms = sum(self.irreps_in[i].mul for i in (together if rule == "element" else own)) * (f_in or 1)
            shape = (self.irreps_in[i_in].mul, self.irreps_out[i_out].mul)
            instructions.append(LinearInstruction(i_in, i_out, shape, (terms or 1.0) ** -0.5))
        return instructions

    def _bias_terms(self, biases) -> list[LinearInstruction]:
        if biases is None or isinstance(biases, bool):
            biases = [bool(biases) and ir.is_scalar() for _, ir in self.irreps_out]
        require(len(biases) == len(self.irreps_out), f"Linear: {len(biases)} biases for '{self.irreps_out}'")
        allowed = all(ir.is_scalar() or not bias for bias, (_, ir) in zip(biases, self.irreps_out, strict=True))
        require(allowed, f"Linear: biases {biases} for '{self.irreps_out}': only scalars 0e can have one")
        return [LinearInstruction(-1, i, (self.irreps_out[i].dim,), 1.0) for i, bias in enumerate(biases) if bias]

    def _set_up_weights(self, internal: bool | None, shared: bool | None) -> None:
        internal = (shared is not False) if internal is None else internal
        shared = True if shared is None else shared
        require(shared or not internal, "Linear: internal_weights=True needs shared_weights=True")
        self.internal_weights, self.shared_weights = internal, shared
        features = self._features if self._features[0] else ()
        if internal and self.weight_numel > 0:
            self.weight = nn.Parameter(torch.randn(*features, self.weight_numel))
        else:
            self.register_buffer("weight", torch.empty(0))  # e3nn's state dict has it
        if internal and self.bias_numel > 0:
            self.bias = nn.Parameter(torch.zeros(*features[1:], self.bias_numel))
        else:
            self.register_buffer("bias", torch.empty(0))

    def _plan(self) -> None:
        self._outputs, self._sizes, self._weight_sizes = plan(self.instructions, self.irreps_in, self.irreps_out)

    def forward(self, features: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """(..., irreps_in.dim) -> (..., irreps_out.dim), with f_in (..., f_in, ...) -> (..., f_out, ...)."""
        size, expected = features.shape[-1], self._in_dim
        torch._assert(size == expected, f"Linear: features have last dimension {size}, expected {expected}")
        if weight is None:
            if self.weight_numel > 0 and not self.internal_weights:
                raise RuntimeError("Linear without internal_weights: give the weights in the call")
            weight = self.weight
        if bias is None:
            if self.bias_numel > 0 and not self.internal_weights:
                raise RuntimeError("Linear without internal_weights: give the biases in the call")
            bias = self.bias
        self._check_operands(weight, bias)
        if not torch.jit.is_scripting():
            self._check_dtypes(features, weight)
        if self.bias_numel == 0:
            bias = bias.new_zeros([1, max(1, self._features[1]), 0])
        if self._features[0] > 0:
            return self._over_features(features, weight, bias)
        if self.shared_weights and weight.dim() == 1:
            z = self._apply_matrices(
                features.reshape([_count(list(features.shape[:-1])), expected]), weight, bias.flatten()
            )
            return z.reshape(features.shape[:-1] + (self._out_dim,))  # noqa: RUF005  TorchScript knows no (*shape, n)
        rows = features.reshape([_count(list(features.shape[:-1])), 1, expected])
        items = [rows.shape[0], 1, 1, weight.shape[-1]] if not self.shared_weights else [1, 1, 1, weight.shape[-1]]
        weight = weight.expand(features.shape[:-1] + weight.shape[-1:]) if not self.shared_weights else weight
        z = self._apply_paths(rows, weight.reshape(items), self._bias_rows(bias, 1))
        return z.reshape(features.shape[:-1] + (self._out_dim,))  # noqa: RUF005

    def _over_features(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        f_in, f_out = self._features
        rows = features.reshape([_count(list(features.shape[:-2])), f_in, self._in_dim])
        weight = weight.reshape([_count(list(weight.shape[:-3])), f_in, f_out, weight.shape[-1]])
        z = self._apply_paths(rows, weight, self._bias_rows(bias, f_out))
        return z.reshape(features.shape[:-2] + (f_out, self._out_dim))  # noqa: RUF005

    def _bias_rows(self, bias: Tensor, features: int) -> Tensor:
        return bias if self.bias_numel == 0 else bias.reshape(-1, features, self.bias_numel)

    def _apply_matrices(self, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """rows (n, irreps_in.dim), weight (weights,), bias (biases,): (n, irreps_out.dim)."""
        n = rows.shape[0]
        blocks, parts = rows.split(self._sizes, dim=1), weight.split(self._weight_sizes)
        pieces: list[Tensor] = []
        for out in self._outputs:
            piece = rows.new_zeros([n * out.dim, out.mul] if len(out.slots) == 0 else [0])
            for term in range(len(out.slots)):
                matrix = (parts[out.parts[term]] * out.factors[term]).view([out.copies[term], out.mul])
                mixed = by_component(blocks[out.slots[term]], out.copies[term], out.dim) @ matrix
                piece = mixed if term == 0 else piece + mixed
            if out.dim > 1 and out.mul > 1:
                piece = piece.view([n, out.dim, out.mul]).transpose(1, 2)
            piece = piece.reshape([n, out.mul * out.dim])
            if out.bias >= 0:
                piece = piece + bias.narrow(0, out.bias, out.mul * out.dim)
            pieces.append(piece)
        if len(pieces) == 0:
            return rows.new_zeros([n, 0])
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)

    def _apply_paths(self, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """rows (n, f, irreps_in.dim), weight (1 or n, f, g, weights), bias (1 or n, g, biases): (n, g, out)."""
        n, g = rows.shape[0], weight.shape[2]
        blocks, parts = rows.split(self._sizes, dim=2), weight.split(self._weight_sizes, dim=3)
        pieces: list[Tensor] = []
        for out in self._outputs:
            if len(out.slots) == 0:
                piece = rows.new_zeros([n, g, out.mul * out.dim])
            else:
                inputs = [blocks[s].reshape([n, rows.shape[1], u, out.dim]) for s, u in zip(out.slots, out.copies)]  # noqa: B905
                matrices: list[Tensor] = []
                for copies, part, factor in zip(out.copies, out.parts, out.factors):  # noqa: B905
                    matrices.append((parts[part] * factor).unflatten(3, [copies, out.mul]))
                piece = _mix(torch.cat(inputs, dim=2), torch.cat(matrices, dim=3)).flatten(2)
            if out.bias >= 0:
                piece = piece + bias.narrow(2, out.bias, out.mul * out.dim)
            pieces.append(piece)
        return torch.cat(pieces, dim=2) if len(pieces) > 0 else rows.new_zeros([n, g, 0])

    def _check_operands(self, weight: Tensor, bias: Tensor) -> None:
        for_weight, for_bias = weight.shape[-1], bias.shape[-1]
        wanted, biases = self.weight_numel, self.bias_numel
        torch._assert(for_weight == wanted, f"Linear: weight has last dimension {for_weight}, expected {wanted}")
        torch._assert(for_bias == biases, f"Linear: bias has last dimension {for_bias}, expected {biases}")

    @torch.jit.unused
    def _check_dtypes(self, features: Tensor, weight: Tensor) -> None:
        if weight.numel() == 0 or torch.is_autocast_enabled(features.device.type):
            return
        kinds = {"features": (features.dtype, features.device), "weight": (weight.dtype, weight.device)}
        if len(set(kinds.values())) > 1:
            listed = ", ".join(f"{name} is {dtype} on {device}" for name, (dtype, device) in kinds.items())
            raise OperandError(f"Linear: {listed}: convert them to one dtype and device")

    def weight_view_for_instruction(self, instruction: int, weight: Tensor | None = None) -> Tensor:
        """The weights of one instruction in their shape, a view."""
        return list(self.weight_views(weight))[instruction]

    def weight_views(self, weight: Tensor | None = None, yield_instruction: bool = False) -> Iterator:
        """Views of the weights of each instruction; with its index and itself if asked."""
        require(weight is not None or self.internal_weights, "Linear without internal_weights: give the weights")
        weight, offset = self.weight if weight is None else weight, 0
        for index, item in enumerate(i for i in self.instructions if i.i_in >= 0):
            size = math.prod(item.path_shape)
            view = weight.narrow(-1, offset, size).view(weight.shape[:-1] + item.path_shape)
            offset += size
            yield (index, item, view) if yield_instruction else view

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out} | {self.weight_numel} weights)"


def by_component(block: Tensor, copies: int, dim: int) -> Tensor:
    """(n, copies dim) as rows (n dim, copies)."""
    if dim == 1 or copies == 1:
        return block.reshape([-1, copies])
    return block.reshape([-1, copies, dim]).transpose(1, 2).reshape([-1, copies])


def _count(lead: list[int]) -> int:
    """How many items leading dimensions hold."""
    items = 1
    for size in lead:
        items = items * size
    return items


def _mix(x: Tensor, weight: Tensor) -> Tensor:
    """x (n, f, u, i), weight (1 or n, f, g, u, w): (n, g, w, i)."""
    n, f, u, i = x.shape
    g, w = weight.shape[2], weight.shape[4]
    matrix = weight.transpose(2, 3).reshape(weight.shape[0], f * u, g * w)
    rows = x.permute(0, 3, 1, 2).reshape(n, i, f * u)
    mixed = (
        rows.reshape(n * i, f * u) @ matrix[0]
        if matrix.shape[0] == 1 and n != 1
        else torch.bmm(rows, matrix.expand(n, -1, -1))
    )
    return mixed.reshape(n, i, g, w).permute(0, 2, 3, 1)
