"""Gathered along edges, mixed by degree, multiplied with itself: `edge_form`, `degree_linear` and `density_product`.

One operator in place of three, for the CPU: on small graphs, nodes of autograd cost as much as kernels. With
A = gather(Y, a, b), B = A W and P the product, the operator returns P(B), A and B. The gradient is the chain of the
gradients of the three. Its own gradient is one by A and B as well, as if they were operands: autograd adds them to what
comes from P(B), and the chain is gone through once for both. It may be differentiated twice; the reference is the
three, one after another.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops import extension
from equitensor.ops.degree_linear import linear_on_core, outer_on_core
from equitensor.ops.density_product import CONSTANTS, SparseTensor, output_of
from equitensor.ops.density_product import first_on_core as product_first
from equitensor.ops.density_product import product_on_core as product
from equitensor.ops.density_product import second_on_core as product_second
from equitensor.ops.edge_form import gather_on_core, gradient_on_core
from equitensor.ops.operator import define, given, room


def compiled(*tensors: Tensor) -> bool:
    """Whether the compiled operators take these."""
    return extension.compiled(*tensors)


def gathered_product(
    harmonics: Tensor,
    a: Tensor,
    b: Tensor,
    matrices: Tensor,
    weight: Tensor,
    mix: Tensor | None,
    species: Tensor,
    tensor: SparseTensor,
    invariants: bool,
) -> Tensor:
    """P(gather_edges(Y, a, b) W): (n, d, C), or the invariants (n, 1, C).

    harmonics Y (n, width, d), a and b (n width, R), matrices W (L+1, R, C), weight (elements, order, degrees, C), mix
    (paths, C) or None, species (n,); see `edge_form`, `degree_linear` and `density_product`.
    """
    constants = (species, *tensor[:2], invariants, tensor.symmetric)
    return _product(harmonics, a, b, matrices, weight, mix, *constants)[0]


def _on_core(harmonics, a, b, matrices, weight, mix, *constants):
    gathered = gather_on_core(harmonics, a, b)
    mixed = linear_on_core(gathered, matrices, False)
    return product(mixed, weight, mix, *constants), gathered, mixed


def _first_on_core(harmonics, a, b, matrices, weight, mix, gathered, mixed, g, more_gathered, more_mixed, *others):
    """The gradients of the six, those wanted; the gradients by B and A, for the next derivative.

    Given those by P(B), A and B, of which any may be None.
    """
    *constants, wanted = others
    on_edges, inside = wanted[:3], any(wanted[:4])
    if g is None:
        g_mixed = torch.zeros_like(mixed) if more_mixed is None else more_mixed.clone()
        of_weight, of_mix = room(weight, False), room(weight, False)
    else:
        g_mixed, of_weight, of_mix = product_first(mixed, weight, mix, g, *constants, [inside, *wanted[4:]])
        if inside and more_mixed is not None:
            g_mixed.add_(more_mixed)
    of_matrices = outer_on_core(gathered, g_mixed, len(matrices)) if wanted[3] else room(matrices, False)
    if not any(on_edges):
        nothing = (room(t, False) for t in (harmonics, a, b))
        return *nothing, of_matrices, of_weight, of_mix, g_mixed, room(gathered, False)
    g_gathered = linear_on_core(g_mixed, matrices, True)
    if more_gathered is not None:
        g_gathered.add_(more_gathered)
    edges = gradient_on_core((harmonics, a, b, g_gathered), None, None, [*on_edges, False])[:3]
    return *edges, of_matrices, of_weight, of_mix, g_mixed, g_gathered


def _second_on_core(harmonics, a, b, matrices, weight, mix, gathered, mixed, g, g_mixed, g_gathered, *others):
    """With h along the six: the gradients of <h, first> by them, A, B and g."""
    h_edges, h_matrices, h_weight, h_mix = others[:3], *others[3:6]
    *constants, wanted = others[6:]
    along, of_matrices, of_gathered = None, room(matrices, False), room(gathered, False)
    if all(h is None for h in h_edges):
        edges = [room(t, False) for t in (harmonics, a, b)]
    else:
        point, tangent = (harmonics, a, b, g_gathered), (*h_edges, None)
        *edges, by_g = gradient_on_core(point, None, tangent, [*wanted[:3], True])
        along = linear_on_core(by_g, matrices, False)
        if wanted[3]:
            of_matrices = outer_on_core(by_g, g_mixed, len(matrices))
    if h_matrices is not None:
        more = linear_on_core(gathered, h_matrices, False)
        along = more if along is None else along.add_(more)
        if wanted[6]:
            of_gathered = linear_on_core(g_mixed, h_matrices, True)
    asked = [wanted[7], *wanted[4:6], wanted[8]]
    found = product_second(mixed, weight, mix, g, along, h_weight, h_mix, *constants, asked)
    of_mixed, of_weight, of_mix, of_g = found
    return *edges, of_matrices, of_weight, of_mix, of_gathered, of_mixed, of_g


def _backward(arguments, needs, g, more_gathered, more_mixed):
    *operands, species, index, coefficients, invariants, symmetric, gathered, mixed = arguments
    wanted, constants = list(needs[:6]), (species, index, coefficients, invariants, symmetric)
    if g is None:
        wanted[4:] = False, False
    return given(_first(*operands, gathered, mixed, g, more_gathered, more_mixed, *constants, wanted)[:6], wanted)


def _first_backward(arguments, needs, *along):
    *point, more_gathered, more_mixed, species, index, coefficients, invariants, symmetric, _, g_mixed, g_gathered = (
        arguments
    )
    if point[8] is None or more_gathered is not None or more_mixed is not None:
        raise RuntimeError("equitensor::gathered_product may be differentiated twice only")
    wanted, along = list(needs[:9]), along[:6]
    edges_too = any(h is not None for h in along[:3])
    wanted[:4] = [need and edges_too for need in wanted[:4]]
    wanted[6] = wanted[6] and along[3] is not None
    constants = (species, index, coefficients, invariants, symmetric)
    return given(_second(*point, g_mixed, g_gathered, *along, *constants, wanted), wanted)


def _rooms(operands: tuple, wanted) -> tuple[Tensor, ...]:
    likes = (operands[0] if t is None else t for t in operands)
    return tuple(room(t, want) for t, want in zip(likes, wanted, strict=True))


def _first_fake(harmonics, a, b, matrices, weight, mix, gathered, mixed, *others):
    wanted = others[-1]
    found = _rooms((harmonics, a, b, matrices, weight, mix), wanted)
    return *found, room(mixed, any(wanted[:4])), room(gathered, any(wanted[:3]))


def _fake(harmonics, a, b, matrices, weight, mix, species, index, coefficients, invariants, symmetric):
    gathered = harmonics.new_empty(harmonics.shape[0], harmonics.shape[2], a.shape[1])
    mixed = gathered.new_empty(*gathered.shape[:2], matrices.shape[2])
    return output_of(mixed, invariants), gathered, mixed


_OPERANDS = "Tensor harmonics, Tensor a, Tensor b, Tensor matrices, Tensor weight, Tensor? mix"
_POINT = f"{_OPERANDS}, Tensor gathered, Tensor mixed"
_ALONG = ", ".join(f"Tensor? h_{name}" for name in ("harmonics", "a", "b", "matrices", "weight", "mix"))
_second = define(
    f"gathered_product_second({_POINT}, Tensor g, Tensor g_mixed, Tensor g_gathered, {_ALONG}, {CONSTANTS},"
    f" bool[9] wanted) -> ({', '.join(['Tensor'] * 9)})",
    kernel=_second_on_core,
    fake=lambda *inputs: _rooms(inputs[:9], inputs[-1]),
)
_first = define(
    f"gathered_product_first({_POINT}, Tensor? g, Tensor? more_gathered, Tensor? more_mixed, {CONSTANTS},"
    f" bool[6] wanted) -> ({', '.join(['Tensor'] * 8)})",
    kernel=_first_on_core,
    fake=_first_fake,
    backward=_first_backward,
    kept=2,
)
_product = define(
    f"gathered_product({_OPERANDS}, {CONSTANTS}) -> (Tensor, Tensor, Tensor)",
    kernel=_on_core,
    fake=_fake,
    backward=_backward,
    kept=2,
)
