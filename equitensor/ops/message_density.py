"""Densities of messages: gathered along edges, mixed by degree, multiplied with themselves.

One operator on the CPU: `edge_form`, `degree_linear` and `density_product` one after another, and the two matrices
before them. With a = m V, b = R W, A = gather(Y, a, b) and B = A M, it returns P(B), what lies between (a, b and B) and
A. Its gradient is one call, and the gradient of that as well; the latter is one by a, b and B, too, as if they were
operands: autograd adds them to what comes from P(B), and the chain is gone through once for both. It may be
differentiated twice; elsewhere layers take its parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.channel_product import check_tables
from equitensor.ops.degree_linear import degree_linear
from equitensor.ops.density_product import SparseTensor, density_powers
from equitensor.ops.edge_form import equal_slots, gather_edges
from equitensor.ops.layers import fitting, second_by_parts
from equitensor.ops.operator import Kernel, allocate, define, keep_wanted


def message_density(
    messages: Tensor,
    radial: Tensor,
    harmonics: Tensor,
    w_messages: Tensor,
    w_radial: Tensor,
    matrices: Tensor,
    weight: Tensor,
    mix: Tensor | None,
    species: Tensor,
    tensor: SparseTensor,
    invariants: bool,
    start: Tensor | None = None,
) -> Tensor:
    """P(gather_edges(Y, m V, R W) M): (n, d, C), or the invariants (n, 1, C). Only where `availability.has_kernel`.

    messages m (slots, c), radial R (slots, num_radial), harmonics Y (n, width, d), or (slots, d) where the slots
    start[i] to start[i + 1] are those of atom i, V (c, gathered), W (num_radial, gathered), matrices M (L+1, gathered,
    C), weight (elements, order, degrees, C), mix (paths, C) or None, species (n,); see `edge_form`, `degree_linear` and
    `density_product`.
    """
    if start is None:
        start, harmonics = equal_slots(*harmonics.shape[:2]), harmonics.flatten(0, 1)
    operands = (messages, radial, harmonics, w_messages, w_radial, matrices, weight, mix)
    return _density(*operands, species, start, *tensor[:2], invariants, tensor.symmetric)[0]


def _by_parts(messages, radial, harmonics, w_messages, w_radial, matrices, weight, mix, species, start, *tensor):
    gathered = gather_edges(harmonics, messages @ w_messages, radial @ w_radial, start)
    constants = (species, *tensor)
    return density_powers(degree_linear(gathered, matrices), weight, mix, *constants)


_VALUES = Kernel("message_density", sizes=13, arrays=15)
_FIRST = Kernel("message_density_first", sizes=13, arrays=26)
_SECOND = Kernel("message_density_second", sizes=13, arrays=25)


def _checked(*inputs):
    """Sizes, and the arrays and tables, contiguous."""
    operands, (species, start, index, coefficients, invariants, symmetric) = inputs[:8], inputs[8:]
    messages, radial, harmonics, w_messages, w_radial, matrices, weight, mix = operands
    if harmonics.dim() != 2 or matrices.dim() != 3 or messages.dim() != 2 or radial.dim() != 2 or weight.dim() != 4:
        raise RuntimeError("message_density: harmonics have not two dimensions, matrices not three, or weight not four")
    atoms, slots = species.numel(), harmonics.shape[0]
    degrees, gathered, channels = matrices.shape
    edge_channels, num_radial = messages.shape[1], radial.shape[1]
    elements, order = weight.shape[:2]
    paths = 0 if mix is None else mix.shape[0]
    arrays = fitting(
        "message_density",
        harmonics.dtype,
        messages=(messages, (slots, edge_channels)),
        radial=(radial, (slots, num_radial)),
        harmonics=(harmonics, (slots, degrees * degrees)),
        w_messages=(w_messages, (edge_channels, gathered)),
        w_radial=(w_radial, (num_radial, gathered)),
        matrices=(matrices, (degrees, gathered, channels)),
        weight=(weight, (elements, order, 1 if invariants else degrees, channels)),
        mix=(mix, (paths, channels)),
    )
    rows = fitting("message_density", torch.int64, species=(species, (atoms,)), start=(start, (atoms + 1,)))
    entries = check_tables("message_density", index, coefficients)
    sizes = (atoms, slots, degrees, edge_channels, num_radial, gathered, channels)
    sizes = (*sizes, elements, order, paths, entries, invariants, symmetric)
    return sizes, arrays, (rows[0], index.contiguous(), coefficients.contiguous(), rows[1])


def _on_core(*inputs):
    sizes, arrays, tables = _checked(*inputs)
    outputs = _fake(*inputs)
    _VALUES(arrays[0].dtype, sizes, (*arrays, *tables, *outputs))
    return outputs


def _first_on_core(*inputs):
    *operands, inner, sums, g, more_inner, wanted = inputs
    sizes, arrays, tables = _checked(*operands)
    out = _output(*operands)
    inner, sums, g, more_inner = fitting(
        "message_density",
        inner.dtype,
        inner=(inner, inner.shape),
        sums=(sums, sums.shape),
        g=(out.zero_() if g is None else g, out.shape),
        more_inner=(more_inner, inner.shape),
    )
    gradients = _first_fake(*inputs)
    results = [t if want else None for t, want in zip(gradients, (*wanted, True, True), strict=True)]
    _FIRST(inner.dtype, sizes, (*arrays, *tables, inner, sums, g, more_inner, *results))
    return gradients


def _second_on_core(*inputs):
    *operands, inner, g, back, back_sums, h_messages, h_radial, h_harmonics, _ = inputs
    sizes, arrays, tables = _checked(*operands)
    messages, radial, harmonics = arrays[:3]
    known = fitting(
        "message_density",
        inner.dtype,
        inner=(inner, inner.shape),
        g=(g, _output(*operands).shape),
        back=(back, inner.shape),
        back_sums=(back_sums, back_sums.shape),
        h_messages=(h_messages, messages.shape),
        h_radial=(h_radial, radial.shape),
        h_harmonics=(h_harmonics, harmonics.shape),
    )
    gradients = _second_fake(*inputs)
    results = [t if t.numel() else None for t in gradients]
    _SECOND(inner.dtype, sizes, (*arrays[2:], *tables, *known, *results))
    return gradients


def _output(messages, radial, harmonics, w_messages, w_radial, matrices, weight, mix, species, *constants):
    components = 1 if constants[3] else harmonics.shape[1]
    return harmonics.new_empty(species.numel(), components, matrices.shape[2])


def _fake(*inputs):
    harmonics, matrices, species = inputs[2], inputs[5], inputs[8]
    atoms, (slots, components) = species.numel(), harmonics.shape
    _, gathered, channels = matrices.shape
    inner = harmonics.new_empty(2 * slots * gathered + atoms * components * channels)
    return _output(*inputs), inner, harmonics.new_empty(atoms, components, gathered)


def _allocate_results(operands, wanted):
    likes = (operands[0] if t is None else t for t in operands)
    return tuple(allocate(t, want) for t, want in zip(likes, wanted, strict=True))


def _first_fake(*inputs):
    inner, sums, wanted = inputs[14], inputs[15], inputs[-1]
    return *_allocate_results(inputs[:8], wanted), allocate(inner), allocate(sums)


def _second_fake(*inputs):
    inner, g, wanted = inputs[14], inputs[15], inputs[-1]
    return *_allocate_results(inputs[2:8], wanted[:6]), allocate(inner), allocate(g, wanted[6])


def _backward(arguments, needs, g, more_inner, _):
    *inputs, inner, sums = arguments
    wanted = [*needs[:7], needs[7] and inputs[7] is not None]
    if g is None:
        wanted[6:] = False, False
    return keep_wanted(_first(*inputs, inner, sums, g, more_inner, wanted)[:8], wanted)


def _first_backward(arguments, needs, *tangents):
    *inputs, inner, _, g, more_inner, _, back, back_sums = arguments
    if g is None or more_inner is not None:
        raise RuntimeError("equitensor::message_density may be differentiated twice only")
    tangents = tangents[:8]
    of_constants = (None,) * 6
    if any(h is not None for h in tangents[3:]):
        *gradients, by_g = second_by_parts(lambda *points: _by_parts(*points, *inputs[8:]), inputs[:8], g, tangents)
        return *gradients, *of_constants, None, None, by_g
    h_messages, h_radial, h_harmonics = tangents[:3]
    with_mix = needs[7] and inputs[7] is not None
    wanted = [
        needs[2],
        needs[3] and h_messages is not None,
        needs[4] and h_radial is not None,
        needs[5],
        needs[6],
        with_mix,
        needs[16],
    ]
    gradients = _second(*inputs, inner, g, back, back_sums, h_messages, h_radial, h_harmonics, wanted)
    *by_operands, by_inner, by_g = keep_wanted(gradients, (*wanted[:6], True, wanted[6]))
    return None, None, *by_operands, *of_constants, by_inner, None, by_g


_CONSTANTS = "Tensor species, Tensor start, Tensor index, Tensor coefficients, bool invariants, bool symmetric"
_OPERANDS = (
    "Tensor messages, Tensor radial, Tensor harmonics, Tensor w_messages, Tensor w_radial, Tensor matrices,"
    f" Tensor weight, Tensor? mix, {_CONSTANTS}"
)
_second = define(
    f"message_density_second({_OPERANDS}, Tensor inner, Tensor g, Tensor back, Tensor back_sums, Tensor? h_messages,"
    f" Tensor? h_radial, Tensor? h_harmonics, bool[7] wanted) -> ({', '.join(['Tensor'] * 8)})",
    kernel=_second_on_core,
    fake=_second_fake,
)
_first = define(
    f"message_density_first({_OPERANDS}, Tensor inner, Tensor sums, Tensor? g, Tensor? more_inner, bool[8] wanted)"
    f" -> ({', '.join(['Tensor'] * 10)})",
    kernel=_first_on_core,
    fake=_first_fake,
    backward=_first_backward,
    kept=2,
)
_density = define(
    f"message_density({_OPERANDS}) -> (Tensor, Tensor, Tensor)",
    kernel=_on_core,
    fake=_fake,
    backward=_backward,
    kept=2,
)
