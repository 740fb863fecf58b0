"""Sums over the neighbours of atoms, and read-outs along edges, as derivatives of one form.

F = sum over atoms i, slots j, components m, channels c of Y_ijm a_ijc b_ijc G_imc. `gather_edges` is dF/dG,
`read_edges` dF/db with rows at the reverse edges. The derivatives of both are other derivatives of F, which the
kernels fuse, to the second order.

All atoms have the same number of slots here. Where their own follow one another, without empty ones, `start` says where
those of each atom begin: kernels know only that form, and layers made of these operators take it.
"""

from __future__ import annotations

import functools

import torch
from torch import Size, Tensor

from equitensor.ops import edge_form_reference as in_torch
from equitensor.ops.availability import has_kernel
from equitensor.ops.cuda import edge_form as on_gpu
from equitensor.ops.cuda.proof import Proof
from equitensor.ops.operator import Kernel, allocate, contiguous, define, keep_wanted


def gather_edges(harmonics: Tensor, a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    """sum_j Y_ijm a_ijc b_ijc: (n, d, C).

    harmonics Y (n, width, d), a and b (n width, C). float32 or float64. With start (n + 1,): Y (slots, d), a and b
    (slots, C), start[i] to start[i + 1] the slots of atom i; in plain torch.
    """
    if start is not None:
        products = harmonics.unsqueeze(2) * (a * b).unsqueeze(1)
        return products.new_zeros(len(start) - 1, *products.shape[1:]).index_add(0, atom_of_slots(start), products)
    if has_kernel(harmonics, a, b, on_gpu=harmonics.shape[2] <= on_gpu.MOST_COMPONENTS):
        return _gather(harmonics, a, b)
    return gather_edges_reference(harmonics, a, b)


def read_edges(harmonics: Tensor, features: Tensor, factor: Tensor, rev: Tensor, start: Tensor | None = None) -> Tensor:
    """r_e sum_m Y_e'm G_im at every slot e, e' the reverse of e, in the row of atom i: (n width, C).

    harmonics Y (n, width, d), features G (n, d, C), factor r (n width, C), rev (n width,) an involution of the slots.
    With start (n + 1,): Y (slots, d), r (slots, C), rev (slots,); in plain torch.
    """
    if start is not None:
        own = features.index_select(0, atom_of_slots(start))
        return torch.bmm(harmonics.unsqueeze(1), own).squeeze(1).index_select(0, rev) * factor
    if has_kernel(harmonics, features, factor, on_gpu=harmonics.shape[2] <= on_gpu.MOST_COMPONENTS):
        return _read(harmonics, features, factor, rev)
    return read_edges_reference(harmonics, features, factor, rev)


def atom_of_slots(start: Tensor) -> Tensor:
    """(slots,) the atom that each slot is one of."""
    return torch.arange(len(start) - 1, device=start.device).repeat_interleave(start.diff())


def equal_slots(atoms: int, width: int) -> Tensor:
    """(n + 1,) where the slots of each atom begin, `width` of them."""
    return torch.arange(atoms + 1) * width


def gather_edges_reference(harmonics: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.bmm(harmonics.transpose(1, 2), (a * b).view(*harmonics.shape[:2], a.shape[1]))


def read_edges_reference(harmonics: Tensor, features: Tensor, factor: Tensor, rev: Tensor) -> Tensor:
    return torch.bmm(harmonics, features).flatten(0, 1).index_select(0, rev) * factor


_GATHER = Kernel("edge_gather", sizes=4, arrays=5)
_READ = Kernel("edge_read", sizes=4, arrays=6)
_GRADIENT = Kernel("edge_gradient", sizes=5, arrays=14)


def _check_one_precision(harmonics: Tensor, *others: Tensor) -> None:
    for array in others:
        if array.dtype != harmonics.dtype:
            raise RuntimeError(f"edge_form: rows are {array.dtype}, harmonics {harmonics.dtype}")


@functools.lru_cache(maxsize=1024)
def _sizes(harmonics: Size, rows: tuple[Size, ...], features: Size | None, rev: Size | None) -> tuple[int, ...]:
    """Atoms, width, components and channels of these shapes, if they fit."""
    if len(harmonics) != 3:
        raise RuntimeError(f"edge_form: harmonics has shape {list(harmonics)}, expected (n, width, d)")
    atoms, width, components = harmonics
    for shape in rows:
        if len(shape) != 2 or shape[0] != atoms * width or shape != rows[0]:
            expected = f"({atoms * width}, channels)"
            raise RuntimeError(f"edge_form: an array of rows has shape {list(shape)}, expected {expected}")
    channels = rows[0][1]
    if features is not None and features != (atoms, components, channels):
        wanted = [atoms, components, channels]
        raise RuntimeError(f"edge_form: features has shape {list(features)}, expected {wanted}")
    if rev is not None and rev.numel() != atoms * width:
        raise RuntimeError(f"edge_form: rev has shape {list(rev)}, expected {atoms * width} entries")
    return atoms, width, components, channels


def _shape(rev: Tensor | None) -> Size | None:
    if rev is None:
        return None
    if rev.dtype != torch.int64:
        raise RuntimeError(f"edge_form: rev is {rev.dtype}, expected int64")
    return rev.shape


def gather_on_core(harmonics: Tensor, a: Tensor, b: Tensor) -> Tensor:
    harmonics, a, b = harmonics.contiguous(), a.contiguous(), b.contiguous()
    _check_one_precision(harmonics, a, b)
    atoms, width, components, channels = _sizes(harmonics.shape, (a.shape, b.shape), None, None)
    sums, start = harmonics.new_empty(atoms, components, channels), equal_slots(atoms, width)
    _GATHER(harmonics.dtype, (atoms, atoms * width, components, channels), (harmonics, a, b, start, sums))
    return sums


def read_on_core(harmonics: Tensor, features: Tensor, factor: Tensor, rev: Tensor) -> Tensor:
    harmonics, features = harmonics.contiguous(), features.contiguous()
    factor, rev = factor.contiguous(), rev.contiguous()
    _check_one_precision(harmonics, features, factor)
    atoms, width, *others = _sizes(harmonics.shape, (factor.shape,), features.shape, _shape(rev))
    out, start = torch.empty_like(factor), equal_slots(atoms, width)
    _READ(harmonics.dtype, (atoms, atoms * width, *others), (harmonics, features, factor, start, rev, out))
    return out


def gradient_on_core(
    point: tuple, rev: Tensor | None, tangents: tuple | None, wanted: list[bool]
) -> tuple[Tensor, ...]:
    """The wanted gradients of F, or their JVP where there are tangents."""
    harmonics, a, b, features = operands = [t.contiguous() for t in point]
    _check_one_precision(harmonics, a, b, features)
    atoms, width, *others = _sizes(harmonics.shape, (a.shape, b.shape), features.shape, _shape(rev))
    rev, start = contiguous(rev), equal_slots(atoms, width)
    h = (None,) * 4 if tangents is None else [contiguous(t) for t in tangents]
    for t, like in zip(h, operands, strict=True):
        if t is not None and (t.shape != like.shape or t.dtype != like.dtype):
            raise RuntimeError(f"edge_form: a tangent is {list(t.shape)} {t.dtype}, expected {list(like.shape)}")
    out = [allocate(t, want) for t, want in zip(operands, wanted, strict=True)]
    sizes = (atoms, atoms * width, *others, tangents is not None)
    _GRADIENT(harmonics.dtype, sizes, (*operands, start, rev, *h, *out))
    return tuple(out)


def _gather_on_gpu(harmonics, a, b):
    _sizes(harmonics.shape, (a.shape, b.shape), None, None)
    return on_gpu.gather(harmonics, a, b)


def _read_on_gpu(harmonics, features, factor, rev):
    _sizes(harmonics.shape, (factor.shape,), features.shape, _shape(rev))
    return on_gpu.read(harmonics, features, factor, rev)


def _gradient_on_gpu(harmonics, a, b, features, rev, *tangents_and_wanted):
    """First order without, second order with four tangents."""
    *tangents, wanted = tangents_and_wanted
    _sizes(harmonics.shape, (a.shape, b.shape), features.shape, _shape(rev))
    for t, like in zip(tangents, (harmonics, a, b, features), strict=False):
        if t is not None and t.shape != like.shape:
            raise RuntimeError(f"edge_form: a tangent has shape {list(t.shape)}, expected {list(like.shape)}")
    derivative = on_gpu.second if tangents else on_gpu.first
    return derivative(harmonics, a, b, features, rev, *tangents, wanted)


def _first_on_core(harmonics, a, b, features, rev, wanted):
    return gradient_on_core((harmonics, a, b, features), rev, None, wanted)


def _second_on_core(harmonics, a, b, features, rev, h_harmonics, h_a, h_b, h_features, wanted):
    return gradient_on_core((harmonics, a, b, features), rev, (h_harmonics, h_a, h_b, h_features), wanted)


def _allocate_results(harmonics, a, b, features, *others):
    return tuple(allocate(t, want) for t, want in zip((harmonics, a, b, features), others[-1], strict=True))


def _first_backward(arguments, needs, *tangents):
    """The gradient of F is differentiable once more; its own gradient is not."""
    *point, rev, _ = arguments
    wanted = list(needs[:4])
    return keep_wanted(_second(*point, rev, *tangents, wanted), wanted)


def _gather_backward(arguments, needs, g):
    wanted = [*needs[:3], False]
    return keep_wanted(_first(*arguments, g, None, wanted)[:3], wanted[:3])


def _read_backward(arguments, needs, g):
    harmonics, features, factor, rev = arguments
    of_harmonics, of_features, of_factor = needs[:3]
    wanted = [of_harmonics, of_factor, False, of_features]
    gradients = keep_wanted(_first(harmonics, factor, g, features, rev, wanted), wanted)
    return gradients[0], gradients[3], gradients[1]


_second = define(
    "edge_second(Tensor harmonics, Tensor a, Tensor b, Tensor features, Tensor? rev, Tensor? h_harmonics, Tensor? h_a,"
    " Tensor? h_b, Tensor? h_features, bool[4] wanted) -> (Tensor, Tensor, Tensor, Tensor)",
    kernel=_second_on_core,
    fake=_allocate_results,
    reference=in_torch.second,
    on_gpu=_gradient_on_gpu,
    operands=4,
    proof=Proof(on_gpu.second, in_torch.second, on_gpu.small("YRRFIYRRF")),
)
_first = define(
    "edge_first(Tensor harmonics, Tensor a, Tensor b, Tensor features, Tensor? rev, bool[4] wanted)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    kernel=_first_on_core,
    fake=_allocate_results,
    backward=_first_backward,
    reference=in_torch.first,
    on_gpu=_gradient_on_gpu,
    operands=4,
    proof=Proof(on_gpu.first, in_torch.first, on_gpu.small("YRRFI")),
)
_gather = define(
    "edge_gather(Tensor harmonics, Tensor a, Tensor b) -> Tensor",
    kernel=gather_on_core,
    fake=lambda harmonics, a, b: harmonics.new_empty(harmonics.shape[0], harmonics.shape[2], a.shape[1]),
    backward=_gather_backward,
    reference=gather_edges_reference,
    on_gpu=_gather_on_gpu,
    operands=3,
    proof=Proof(on_gpu.gather, gather_edges_reference, on_gpu.small("YRR")),
)
_read = define(
    "edge_read(Tensor harmonics, Tensor features, Tensor factor, Tensor rev) -> Tensor",
    kernel=read_on_core,
    fake=lambda harmonics, features, factor, rev: allocate(factor),
    backward=_read_backward,
    reference=read_edges_reference,
    on_gpu=_read_on_gpu,
    operands=3,
    proof=Proof(on_gpu.read, read_edges_reference, on_gpu.small("YFRI")),
)
