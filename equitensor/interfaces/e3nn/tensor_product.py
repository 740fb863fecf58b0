"""`TensorProduct`: e3nn's, by its signature, attributes, state dict and values, computed by our ops.

TorchScript reads the annotations, unquoted: no `from __future__ import annotations` here.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.interfaces.e3nn.constants import StoredConstants, block_name
from equitensor.interfaces.e3nn.couplings import installed_sign
from equitensor.interfaces.e3nn.forms import choose_form, path_tables, uuu_tables, uvu_tables
from equitensor.interfaces.e3nn.instructions import Instruction, OperandError, normalise, parse, require, variances
from equitensor.o3 import as_irreps, wigner_3j
from equitensor.o3.irreps import IrrepsLike
from equitensor.ops.tensor_product import ProductPath, as_rows, tensor_product


class TensorProduct(StoredConstants):
    """z = sum over instructions of w (x (x) y), for any irreps, modes and weights; see e3nn.o3.TensorProduct.

    Args:
        instructions: (i_1, i_2, i_out, mode, has_weight[, path_weight]); `ops.tensor_product` has the modes.
        in1_var, in2_var, out_var: variance of each irrep, ones by default.
        irrep_normalization: "component" (default), "norm" or "none".
        path_normalization: "element" (default), "path" or "none".
        internal_weights: hold the weights as the parameter `weight`.
        shared_weights: one set of weights for all items, (weight_numel,); otherwise (..., weight_numel).
        compile_left_right, compile_right: whether `forward` and `right` may be called.
    Raises:
        InstructionError (an InputError and an AssertionError): arguments that contradict each other.
        OperandError (an InputError and a RuntimeError): mixed dtypes or devices in a call.
    """

    __e3nn_compile_mode__ = "script"  # e3nn.util.jit.compile reads it

    instructions: list[Any]
    _paths: list[ProductPath]
    _weight_sizes: list[int]
    _sizes: list[list[int]]
    _components: list[list[int]]
    _signs: dict[str, int]

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        irreps_out: IrrepsLike,
        instructions: Sequence[tuple],
        in1_var: Sequence[float] | Tensor | None = None,
        in2_var: Sequence[float] | Tensor | None = None,
        out_var: Sequence[float] | Tensor | None = None,
        irrep_normalization: str | None = None,
        path_normalization: str | None = None,
        internal_weights: bool | None = None,
        shared_weights: bool | None = None,
        compile_left_right: bool = True,
        compile_right: bool = False,
        normalization: str | None = None,
        _specialized_code: bool | None = None,
        _optimize_einsums: bool | None = None,
    ) -> None:
        super().__init__()
        if normalization is not None:
            warnings.warn("`normalization` is now called `irrep_normalization`", DeprecationWarning, stacklevel=2)
            irrep_normalization = normalization
        irreps = tuple(map(as_irreps, (irreps_in1, irreps_in2, irreps_out)))
        self.irreps_in1, self.irreps_in2, self.irreps_out = irreps
        names = ("in1_var", "in2_var", "out_var")
        variance = tuple(map(variances, (in1_var, in2_var, out_var), irreps, names))
        rules = (irrep_normalization or "component", path_normalization or "element")
        self.instructions = normalise(parse(instructions, *irreps), irreps, variance, *rules)
        self._in1_dim, self._in2_dim, self._out_dim = (space.dim for space in irreps)
        self._did_compile_left_right, self._did_compile_right = compile_left_right, compile_right
        self._note_optimisation(_specialized_code, _optimize_einsums)
        self._set_up_weights(internal_weights, shared_weights)
        self.register_buffer("output_mask", self._mask())
        self._signs = {block_name(degrees): installed_sign(*degrees) for degrees in self._degrees()}
        self._sizes = [[mul * ir.dim for mul, ir in space] for space in irreps]
        self._components = [[ir.dim for _, ir in space] for space in irreps]
        self._plan()

    def _note_optimisation(self, specialized: bool | None, einsums: bool | None) -> None:
        """e3nn's switches: they change nothing here but the names of the constants in the state dict."""
        import e3nn

        defaults = e3nn.get_optimization_defaults()
        self._specialized_code = defaults["specialized_code"] if specialized is None else specialized
        self._optimize_einsums = defaults["optimize_einsums"] if einsums is None else einsums

    def _set_up_weights(self, internal: bool | None, shared: bool | None) -> None:
        self.weight_numel = sum(math.prod(item.path_shape) for item in self.instructions if item.has_weight)
        if shared is False and internal is None:
            internal = False
        shared = True if shared is None else shared
        if internal is None:
            internal = shared and any(item.has_weight for item in self.instructions)
        require(shared or not internal, "internal_weights=True needs shared_weights=True")
        self.internal_weights, self.shared_weights = internal, shared
        if internal and self.weight_numel > 0:
            self.weight = nn.Parameter(torch.randn(self.weight_numel))
        else:
            self.register_buffer("weight", torch.empty(0))  # e3nn's state dict has it

    def _mask(self) -> Tensor:
        """1 for the outputs that some instruction reaches."""
        reached = {i.i_out for i in self.instructions if i.path_weight != 0 and 0 not in i.path_shape}
        parts = [torch.full((mul * ir.dim,), float(i in reached)) for i, (mul, ir) in enumerate(self.irreps_out)]
        return torch.cat([*parts, torch.ones(0)])

    def _active(self) -> list[Instruction]:
        return [item for item in self.instructions if 0 not in item.path_shape]

    def _irs(self, item: Instruction) -> tuple:
        """The three (mul, irrep) of an instruction."""
        return self.irreps_in1[item.i_in1], self.irreps_in2[item.i_in2], self.irreps_out[item.i_out]

    def _degrees(self) -> list[tuple[int, int, int]]:
        return list(dict.fromkeys(tuple(ir.l for _, ir in self._irs(item)) for item in self._active()))

    def _plan(self) -> None:
        """The form, and the numbers and tables that its operation needs."""
        items, irreps = self._active(), (self.irreps_in1, self.irreps_in2, self.irreps_out)
        couplings = self._couplings()
        self._form = choose_form(items, irreps, self.shared_weights)
        self._paths, self._weight_sizes, plan = [], [], torch.zeros(0, dtype=torch.int64)
        if self._form == "uvu":
            plan, table = uvu_tables(items, couplings, irreps)
        elif self._form == "uuu":
            plan, table = uuu_tables(items, couplings, irreps)
        else:
            self._paths, self._weight_sizes, table = path_tables(items, couplings, irreps)
        self._channels = self.irreps_in1[0].mul if self._form == "uuu" else 0
        self._num_paths = len(items)
        self.add_table("coupling", table)
        self.add_table("plan", plan)

    def _couplings(self) -> list[Tensor]:
        """Of each active instruction, with its sign and factor: (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
        couplings = []
        for item in self._active():
            degrees = tuple(ir.l for _, ir in self._irs(item))
            couplings.append(item.path_weight * self._signs[block_name(degrees)] * wigner_3j(*degrees))
        return couplings

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """(..., irreps_in1.dim) and (..., irreps_in2.dim) -> (..., irreps_out.dim).

        weight (weight_numel,), or (..., weight_numel) if not shared, or a list with one tensor per instruction
        that has weights; internal if left out.
        """
        return self._evaluate(x, y, weight)

    @torch.jit.export
    def right(self, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """The matrix of x -> forward(x, y, weight): (..., irreps_in1.dim, irreps_out.dim)."""
        torch._assert(self._did_compile_right, "`right` needs compile_right=True when the product is made")
        self._check_width("y", y, self._in2_dim)
        weight = self._get_weights(weight)
        units = torch.eye(self._in1_dim, dtype=y.dtype, device=y.device)
        return self._product(units, y.unsqueeze(-2), weight if self.shared_weights else weight.unsqueeze(-2))

    def _evaluate(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        torch._assert(self._did_compile_left_right, "`forward` needs compile_left_right=True when the product is made")
        self._check_width("x", x, self._in1_dim)
        self._check_width("y", y, self._in2_dim)
        weight = self._get_weights(weight)
        if not torch.jit.is_scripting():
            self._check_dtypes(x, y, weight)
        return self._product(x, y, weight)

    def _check_width(self, name: str, value: Tensor, expected: int) -> None:
        size = value.shape[-1]
        torch._assert(size == expected, f"TensorProduct: {name} has last dimension {size}, expected {expected}")

    @torch.jit.unused
    def _check_dtypes(self, x: Tensor, y: Tensor, weight: Tensor) -> None:
        """All that meets must have one dtype and device, unless autocast sees to it."""
        if torch.is_autocast_enabled(x.device.type):
            return
        given = {"x": x, "y": y, "weight": weight, "the product's own table": self.coupling}
        kinds = {name: (t.dtype, t.device) for name, t in given.items() if t.numel() > 1 or name in "xy"}
        if len(set(kinds.values())) > 1:
            listed = ", ".join(f"{name} is {dtype} on {device}" for name, (dtype, device) in kinds.items())
            raise OperandError(f"TensorProduct: {listed}: convert them to one dtype and device")

    def _get_weights(self, weight: Tensor | None) -> Tensor:
        if not torch.jit.is_scripting():
            weight = self._join_weights(weight)
        if weight is None:
            if self.weight_numel > 0 and not self.internal_weights:
                raise RuntimeError("TensorProduct without internal_weights: give the weights in the call")
            return self.weight
        given, numel = weight.shape[-1], self.weight_numel
        torch._assert(given == numel, f"TensorProduct: weight has last dimension {given}, expected {numel}")
        if self.shared_weights:
            torch._assert(weight.dim() == 1, "TensorProduct: shared weights have one dimension only")
        else:
            torch._assert(weight.dim() > 1, "TensorProduct: weights that are not shared need a batch dimension")
        return weight

    @torch.jit.unused
    def _join_weights(self, weight: Tensor | list[Tensor] | None) -> Tensor | None:
        """One tensor of a list with a tensor per instruction that has weights."""
        if not isinstance(weight, list):
            return weight
        shapes = [item.path_shape for item in self.instructions if item.has_weight]
        flat = [w.reshape(*w.shape[: w.dim() - len(s)], math.prod(s)) for w, s in zip(weight, shapes, strict=True)]
        return torch.cat(flat, dim=-1)

    def _product(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        own = not self.shared_weights and self.weight_numel > 0
        # At most one number of each: where there are no irreps the leading dimensions are still broadcast.
        lead = torch.broadcast_tensors(x[..., :1], y[..., :1])[0]
        if own:
            lead = torch.broadcast_tensors(lead, weight[..., :1])[0]
        shape = list(lead.shape[:-1])
        full = shape + [self._out_dim]  # noqa: RUF005  TorchScript knows no [*shape, n]
        if self._num_paths == 0:
            return x.new_zeros(full)
        x, y = as_rows(x, shape, self._in1_dim), as_rows(y, shape, self._in2_dim)
        if own:
            weight = as_rows(weight, shape, self.weight_numel)
        if self._form == "paths":
            sizes1, sizes2, sizes_out = self._sizes
            paths, weights = self._paths, self._weight_sizes
            z = tensor_product(x, y, weight, self.coupling, paths, sizes1, sizes2, sizes_out, weights)
        else:
            z = self._at_once(x, y, weight)
        return z.reshape(full)

    def _at_once(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        dtype = self.coupling.dtype  # under autocast an operand may have another
        x, y, weight = x.to(dtype), y.to(dtype), weight.to(dtype)
        if self._form == "uvu":
            return torch.ops.equitensor.uvu_product(x, y, weight, self.coupling, self.plan, self._out_dim)
        if self.weight_numel == 0:
            weight = x.new_ones([self._num_paths, 1, 1])
        else:
            items = x.shape[0] if weight.dim() > 1 else 1
            weight = weight.reshape([items, self._num_paths, self._channels]).transpose(0, 1)
        sizes1, sizes2, sizes_out = self._components
        return torch.ops.equitensor.uuu_product(
            x, y, weight, self.coupling, self.plan, sizes1, sizes2, sizes_out, self._channels, False
        )

    def weight_view_for_instruction(self, instruction: int, weight: Tensor | None = None) -> Tensor:
        """The weights of one instruction in their shape, a view.

        Raises:
            InputError: where the instruction has none.
        """
        for index, _, view in self.weight_views(weight, yield_instruction=True):
            if index == instruction:
                return view
        raise InputError(f"instruction {instruction} has no weights")

    def weight_views(self, weight: Tensor | None = None, yield_instruction: bool = False) -> Iterator:
        """Views of the weights of each instruction that has some; with its index and itself if asked."""
        weight, offset = self._get_weights(weight), 0
        for index, item in enumerate(self.instructions):
            if item.has_weight:
                size = math.prod(item.path_shape)
                view = weight.narrow(-1, offset, size).view(weight.shape[:-1] + item.path_shape)
                offset += size
                yield (index, item, view) if yield_instruction else view

    def __repr__(self) -> str:
        paths = sum(math.prod(item.path_shape) for item in self.instructions)
        return (
            f"{type(self).__name__}({self.irreps_in1.simplify()} x {self.irreps_in2.simplify()} "
            f"-> {self.irreps_out.simplify()} | {paths} paths | {self.weight_numel} weights)"
        )
