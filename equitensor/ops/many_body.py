"""The polynomials of `polynomials`, entry by entry with coefficients by element: kernels only, twice differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.operator import Kernel, allocate, contiguous, define, integers, keep_wanted


def element_polynomials(
    x: Tensor, weight: Tensor, element: Tensor, reduction: Tensor | None, basis: Tensor, table: Tensor, sizes: list[int]
) -> Tensor:
    """z (n, outputs, C), may be differentiated twice.

    x (n, d, C) with any strides, weight (elements, paths, C), element (n,) int64, reduction (paths, rank) or None for
    the unit matrix, basis (rank, size) and table, sizes of `o3.polynomial_terms`:
    z_M = sum of weight[element, path] reduction[path, r] basis[r, position] x_k v_node.
    """
    return _polynomials(x, weight, element, reduction, basis, table, sizes)


_COMPONENTS, _OUTPUTS, _SIZES = 0, 1, 7  # places in `sizes`, and how many there are
_KERNEL = Kernel("many_body", sizes=8, arrays=14)


def _check_like(name: str, tensor: Tensor | None, shape: tuple, x: Tensor) -> None:
    if tensor is not None and (tensor.shape != shape or tensor.dtype != x.dtype):
        actual = f"{tensor.dtype} {list(tensor.shape)}"
        raise RuntimeError(f"many_body: {name} is {actual}, expected {x.dtype} {list(shape)}")


def _check(x, weight, element, reduction, basis, table, sizes) -> None:
    if len(sizes) != _SIZES:
        raise RuntimeError(f"many_body: {len(sizes)} sizes, expected {_SIZES}")
    if x.dim() != 3 or x.shape[1] != sizes[_COMPONENTS]:
        raise RuntimeError(f"many_body: x has shape {list(x.shape)}, expected (n, {sizes[_COMPONENTS]}, channels)")
    atoms, _, channels = x.shape
    paths = (basis if reduction is None else reduction).shape[0]
    if weight.dim() != 3 or weight.shape[1:] != (paths, channels):
        raise RuntimeError(
            f"many_body: weight has shape {list(weight.shape)}, expected (elements, {paths}, {channels})"
        )
    if not x.dtype == weight.dtype == basis.dtype:
        raise RuntimeError(f"many_body: x is {x.dtype}, weight {weight.dtype}, basis {basis.dtype}")
    _check_like("reduction", reduction, (paths, basis.shape[0]), x)
    if element.dtype != torch.int64 or element.shape != (atoms,):
        actual = f"{element.dtype} {list(element.shape)}"
        raise RuntimeError(f"many_body: element is {actual}, expected torch.int64 [{atoms}]")
    if table.dtype != torch.int32 or basis.dim() != 2:
        raise RuntimeError(f"many_body: table is {table.dtype}, basis {list(basis.shape)}, expected int32 and a matrix")


def _strides(*tensors: Tensor | None) -> Tensor:
    return integers(tuple(s for t in tensors for s in ((0, 0, 0) if t is None or t.dim() != 3 else t.stride())))


def _run(operands, g, tangents, constants, results) -> None:
    """operands: x, weight; tangents: of both, or None; results: out, dx, dweight, empty where not wanted."""
    (x, weight), (h_x, h_weight), (out, dx, dweight) = operands, tangents or (None, None), results
    element, reduction, basis, table, sizes = constants
    _check(x, weight, *constants)
    _check_like("g", g, (x.shape[0], sizes[_OUTPUTS], x.shape[2]), x)
    _check_like("h_x", h_x, x.shape, x)
    _check_like("h_weight", h_weight, weight.shape, x)
    weight, h_weight, reduction = weight.contiguous(), contiguous(h_weight), contiguous(reduction)
    element, basis, table = element.contiguous(), basis.contiguous(), table.contiguous()
    shapes = (x.shape[0], x.shape[2], *weight.shape[:2], *basis.shape, table.numel(), tangents is not None)
    tables = (element, reduction, basis, table, integers(tuple(sizes)), _strides(x, h_x, g, out, dx))
    _KERNEL(x.dtype, shapes, (x, weight, g, h_x, h_weight, *tables, out, dx, dweight))


def _output(x: Tensor, sizes: list[int]) -> Tensor:
    return x.new_empty(x.shape[0], sizes[_OUTPUTS], x.shape[2])


def _allocate_results(x: Tensor, weight: Tensor, sizes: list[int], wanted: list[bool]) -> tuple[Tensor, ...]:
    """Uninitialised dx (with the strides of x), dweight and, where a third is wanted, the output's tangent."""
    gradients = (torch.empty_like(x) if wanted[0] else x.new_empty(0), allocate(weight, wanted[1]))
    return gradients if len(wanted) == 2 else (*gradients, _output(x, sizes) if wanted[2] else x.new_empty(0))


def _on_core(x, weight, *constants):
    out = _output(x, constants[-1])
    _run((x, weight), None, None, constants, (out, None, None))
    return out


def _first_on_core(x, weight, g, *more):
    *constants, wanted = more
    gradients = _allocate_results(x, weight, constants[-1], wanted)
    _run((x, weight), g, None, constants, (None, *gradients))
    return gradients


def _second_on_core(x, weight, g, h_x, h_weight, *more):
    *constants, wanted = more
    dx, dweight, out = results = _allocate_results(x, weight, constants[-1], wanted)
    _run((x, weight), g, (h_x, h_weight), constants, (out, dx, dweight))
    return results


def _first_backward(arguments, needs, h_x, h_weight):
    x, weight, g, *constants, _ = arguments
    wanted = list(needs[:3])
    return keep_wanted(_second(x, weight, g, h_x, h_weight, *constants, wanted), wanted)


def _backward(arguments, needs, g):
    x, weight, *constants = arguments
    wanted = list(needs[:2])
    return keep_wanted(_first(x, weight, g, *constants, wanted), wanted)


_CONSTANTS = "Tensor element, Tensor? reduction, Tensor basis, Tensor table, int[] sizes"
_second = define(
    f"many_body_second(Tensor x, Tensor weight, Tensor g, Tensor? h_x, Tensor? h_weight, {_CONSTANTS}, bool[3] wanted)"
    " -> (Tensor, Tensor, Tensor)",
    kernel=_second_on_core,
    fake=lambda x, weight, g, h_x, h_weight, *more: _allocate_results(x, weight, more[-2], more[-1]),
)
_first = define(
    f"many_body_first(Tensor x, Tensor weight, Tensor g, {_CONSTANTS}, bool[2] wanted) -> (Tensor, Tensor)",
    kernel=_first_on_core,
    fake=lambda x, weight, g, *more: _allocate_results(x, weight, more[-2], more[-1]),
    backward=_first_backward,
)
_polynomials = define(
    f"many_body(Tensor x, Tensor weight, {_CONSTANTS}) -> Tensor",
    kernel=_on_core,
    fake=lambda x, weight, *constants: _output(x, constants[-1]),
    backward=_backward,
)
