"""New messages on edges, from those before, the features of the senders and the scalars of the receivers.

One operator on the CPU, whose derivatives are one call each: `degree_linear`, `read_edges` and a hidden layer. What
lies between (f, P A and x below) is a result, too, as in `message_density`. It may be differentiated twice; elsewhere
its parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.availability import has_kernel
from equitensor.ops.degree_linear import degree_linear
from equitensor.ops.edge_form import atom_of_slots, equal_slots, read_edges
from equitensor.ops.layers import fitting, second_by_parts
from equitensor.ops.operator import Kernel, allocate, define, keep_wanted
from equitensor.ops.silu import silu


def edge_update(
    messages: Tensor,
    features: Tensor,
    radial: Tensor,
    harmonics: Tensor,
    w_radial: Tensor,
    matrices: Tensor,
    w_messages: Tensor,
    w_scalars: Tensor,
    bias: Tensor,
    out: Tensor,
    rev: Tensor,
    start: Tensor | None = None,
) -> Tensor:
    """m + silu(x) V, x = read_edges(Y, P A, f, rev) + m W + s S + bias, f = R F: (slots, c).

    messages m (slots, c), features P (n, d, C) with the scalars s (n, C), radial R (slots, num_radial), F (num_radial,
    c), matrices A (L+1, C, c), W (c, c), S (C, c), bias (c,), V (c, c), rev (slots,); harmonics Y (n, width, d), or
    (slots, d) where the slots start[i] to start[i + 1] are those of atom i.
    """
    operands = (messages, features, radial, harmonics, w_radial, matrices, w_messages, w_scalars, bias, out)
    if not has_kernel(*operands):
        return edge_update_by_parts(*operands, rev, start)
    if start is None:
        start = equal_slots(*harmonics.shape[:2])
        operands = (*operands[:3], harmonics.flatten(0, 1), *operands[4:])
    return _update(*operands, rev, start)[0]


def edge_update_by_parts(
    messages, features, radial, harmonics, w_radial, matrices, w_messages, w_scalars, bias, out, rev, start
) -> Tensor:
    scalars, _ = features.split([1, features.shape[1] - 1], dim=1)
    leaving = read_edges(harmonics, degree_linear(features, matrices), radial @ w_radial, rev, start)
    of_atoms = torch.addmm(bias, scalars.squeeze(1), w_scalars)
    if start is None:
        of_slots = of_atoms.unsqueeze(1).expand(-1, harmonics.shape[1], -1).flatten(0, 1)
    else:
        of_slots = of_atoms.index_select(0, atom_of_slots(start))
    hidden = silu(torch.addmm(leaving, messages, w_messages) + of_slots)
    return torch.addmm(messages, hidden, out)


_VALUES = Kernel("edge_update", sizes=6, arrays=15)
_FIRST = Kernel("edge_update_first", sizes=6, arrays=26)
_SECOND = Kernel("edge_update_second", sizes=6, arrays=23)


def _checked(*inputs):
    """Sizes (atoms, slots, degrees, channels, edge_channels, num_radial), the arrays, contiguous, and start and rev."""
    messages, features, radial, harmonics, w_radial, matrices, w_messages, w_scalars, bias, out, rev, start = inputs
    if harmonics.dim() != 2 or matrices.dim() != 3 or radial.dim() != 2:
        raise RuntimeError("edge_update: harmonics, matrices or radial have another number of dimensions")
    atoms, slots = features.shape[0], harmonics.shape[0]
    degrees, channels, edge_channels = matrices.shape
    num_radial = radial.shape[1]
    arrays = fitting(
        "edge_update",
        harmonics.dtype,
        messages=(messages, (slots, edge_channels)),
        features=(features, (atoms, degrees * degrees, channels)),
        radial=(radial, (slots, num_radial)),
        harmonics=(harmonics, (slots, degrees * degrees)),
        w_radial=(w_radial, (num_radial, edge_channels)),
        matrices=(matrices, (degrees, channels, edge_channels)),
        w_messages=(w_messages, (edge_channels, edge_channels)),
        w_scalars=(w_scalars, (channels, edge_channels)),
        bias=(bias, (edge_channels,)),
        out=(out, (edge_channels, edge_channels)),
    )
    rows = fitting("edge_update", torch.int64, start=(start, (atoms + 1,)), rev=(rev, (slots,)))
    return (atoms, slots, degrees, channels, edge_channels, num_radial), arrays, rows


def _on_core(*inputs):
    sizes, arrays, rows = _checked(*inputs)
    outputs = _fake(*inputs)
    _VALUES(arrays[0].dtype, sizes, (*arrays, *rows, *outputs))
    return outputs


def _first_on_core(*inputs):
    *operands, inner, hidden, g, more_inner, wanted = inputs
    sizes, arrays, rows = _checked(*operands)
    known = fitting(
        "edge_update",
        inner.dtype,
        inner=(inner, inner.shape),
        hidden=(hidden, arrays[0].shape),
        g=(torch.zeros_like(hidden) if g is None else g, arrays[0].shape),
        more_inner=(more_inner, inner.shape),
    )
    gradients = _first_fake(*inputs)
    results = [t if want else None for t, want in zip(gradients, (*wanted, True), strict=True)]
    without_bias = (*arrays[:8], arrays[9])
    _FIRST(inner.dtype, sizes, (*without_bias, *rows, *known, *results))
    return gradients


def _second_on_core(*inputs):
    *operands, inner, g, back, h_messages, h_features, h_radial, h_harmonics, _ = inputs
    sizes, arrays, rows = _checked(*operands)
    messages, features, radial, harmonics = arrays[:4]
    known = fitting(
        "edge_update",
        inner.dtype,
        inner=(inner, inner.shape),
        g=(g, messages.shape),
        back=(back, back.shape),
        h_messages=(h_messages, messages.shape),
        h_features=(h_features, features.shape),
        h_radial=(h_radial, radial.shape),
        h_harmonics=(h_harmonics, harmonics.shape),
    )
    gradients = _second_fake(*inputs)
    results = [t if t.numel() else None for t in gradients]
    _SECOND(inner.dtype, sizes, (*arrays[3:8], arrays[9], *rows, *known, *results))
    return gradients


def _fake(*inputs):
    messages, features, matrices = inputs[0], inputs[1], inputs[5]
    rows = 2 * messages.shape[0] + features.shape[0] * features.shape[1]
    inner = messages.new_empty(rows * matrices.shape[2])
    return allocate(messages), inner, allocate(messages)


def _first_fake(*inputs):
    inner, hidden, wanted = inputs[12], inputs[13], inputs[-1]
    back = inner.numel() + hidden.numel() + inputs[1].shape[0] * hidden.shape[1]
    return *(allocate(t, want) for t, want in zip(inputs[:10], wanted, strict=True)), inner.new_empty(back)


def _second_fake(*inputs):
    inner, g, wanted = inputs[12], inputs[13], inputs[-1]
    likes = (*inputs[3:8], inputs[9])
    return (
        *(allocate(t, want) for t, want in zip(likes, wanted[:6], strict=True)),
        allocate(inner),
        allocate(g, wanted[6]),
    )


def _backward(arguments, needs, g, more_inner, _):
    *inputs, inner, hidden = arguments
    wanted = list(needs[:10])
    return keep_wanted(_first(*inputs, inner, hidden, g, more_inner, wanted)[:10], wanted)


def _first_backward(arguments, needs, *tangents):
    *inputs, inner, _, g, more_inner, _, back = arguments
    if g is None or more_inner is not None:
        raise RuntimeError("equitensor::edge_update may be differentiated twice only")
    tangents = tangents[:10]
    if any(h is not None for h in tangents[4:]):
        *gradients, by_g = second_by_parts(
            lambda *points: edge_update_by_parts(*points, *inputs[10:]), inputs[:10], g, tangents
        )
        return *gradients, *(None,) * 4, by_g
    h_messages, h_features, h_radial, _ = tangents[:4]
    wanted = [
        needs[3],
        needs[4] and h_radial is not None,
        needs[5] and h_features is not None,
        needs[6] and h_messages is not None,
        needs[7] and h_features is not None,
        needs[9],
        needs[14],
    ]
    gradients = _second(*inputs, inner, g, back, *tangents[:4], wanted)
    by_harmonics, *by_weights, by_out, by_inner, by_g = keep_wanted(gradients, (*wanted[:6], True, wanted[6]))
    return None, None, None, by_harmonics, *by_weights, None, by_out, None, None, by_inner, None, by_g


_OPERANDS = (
    "Tensor messages, Tensor features, Tensor radial, Tensor harmonics, Tensor w_radial, Tensor matrices,"
    " Tensor w_messages, Tensor w_scalars, Tensor bias, Tensor out, Tensor rev, Tensor start"
)
_second = define(
    f"edge_update_second({_OPERANDS}, Tensor inner, Tensor g, Tensor back, Tensor? h_messages, Tensor? h_features,"
    f" Tensor? h_radial, Tensor? h_harmonics, bool[7] wanted) -> ({', '.join(['Tensor'] * 8)})",
    kernel=_second_on_core,
    fake=_second_fake,
)
_first = define(
    f"edge_update_first({_OPERANDS}, Tensor inner, Tensor hidden, Tensor? g, Tensor? more_inner, bool[10] wanted)"
    f" -> ({', '.join(['Tensor'] * 11)})",
    kernel=_first_on_core,
    fake=_first_fake,
    backward=_first_backward,
    kept=1,
)
_update = define(
    f"edge_update({_OPERANDS}) -> (Tensor, Tensor, Tensor)",
    kernel=_on_core,
    fake=_fake,
    backward=_backward,
    kept=2,
)
