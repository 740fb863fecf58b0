"""The first messages along edges: tables of the two elements and radial functions through one hidden layer.

One operator on the CPU, whose derivatives are one call each; it may be differentiated twice. Elsewhere its parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.availability import has_kernel
from equitensor.ops.layers import fitting, second_by_parts
from equitensor.ops.operator import Kernel, allocate, define, keep_wanted
from equitensor.ops.silu import silu


def edge_embedding(
    functions: Tensor,
    radial: Tensor,
    senders: Tensor,
    receivers: Tensor,
    bias: Tensor,
    out: Tensor,
    species: Tensor,
    sender: Tensor,
    receiver: Tensor,
) -> Tensor:
    """m = silu(b W + S[species of the sender] + T[species of the receiver] + bias) V: (slots, c).

    functions b (slots, num_radial), W (num_radial, c), tables S and T (elements, c), bias (c,), V (c, c), species
    (n,), sender and receiver (slots,).
    """
    operands = (functions, radial, senders, receivers, bias, out)
    if has_kernel(*operands):
        return _embedding(*operands, species, sender, receiver)[0]
    return edge_embedding_by_parts(*operands, species, sender, receiver)


def edge_embedding_by_parts(functions, radial, senders, receivers, bias, out, species, sender, receiver) -> Tensor:
    hidden = torch.addmm(bias, functions, radial) + senders.index_select(0, species.index_select(0, sender))
    return silu(hidden + receivers.index_select(0, species.index_select(0, receiver))) @ out


_VALUES = Kernel("edge_embedding", sizes=5, arrays=12)
_FIRST = Kernel("edge_embedding_first", sizes=5, arrays=17)
_SECOND = Kernel("edge_embedding_second", sizes=3, arrays=10)


def _checked(functions, radial, senders, receivers, bias, out, species, sender, receiver):
    """Sizes (atoms, slots, num_radial, elements, channels) and the arrays, contiguous."""
    if functions.dim() != 2 or radial.dim() != 2 or senders.dim() != 2:
        raise RuntimeError("edge_embedding: expected functions (slots, num_radial) and matrices of weights")
    slots, num_radial = functions.shape
    elements, channels, atoms = senders.shape[0], radial.shape[1], species.numel()
    arrays = fitting(
        "edge_embedding",
        functions.dtype,
        functions=(functions, (slots, num_radial)),
        radial=(radial, (num_radial, channels)),
        senders=(senders, (elements, channels)),
        receivers=(receivers, (elements, channels)),
        bias=(bias, (channels,)),
        out=(out, (channels, channels)),
    )
    indices = fitting(
        "edge_embedding",
        torch.int64,
        species=(species, (atoms,)),
        sender=(sender, (slots,)),
        receiver=(receiver, (slots,)),
    )
    return (atoms, slots, num_radial, elements, channels), arrays, indices


def _on_core(*inputs):
    sizes, arrays, indices = _checked(*inputs)
    outputs = _fake(*inputs)
    _VALUES(inputs[0].dtype, sizes, (*arrays, *indices, *outputs))
    return outputs


def _first_on_core(*inputs):
    *operands, before, hidden, g, more_before, wanted = inputs
    sizes, arrays, indices = _checked(*operands)
    functions, radial, *_, out = arrays
    rows = before.shape
    before, hidden, g, more_before = fitting(
        "edge_embedding",
        functions.dtype,
        before=(before, rows),
        hidden=(hidden, rows),
        g=(torch.zeros_like(before) if g is None else g, rows),
        more_before=(more_before, rows),
    )
    gradients = _first_fake(*inputs)
    results = [t if want else None for t, want in zip(gradients, (*wanted, True), strict=True)]
    _FIRST(before.dtype, sizes, (functions, radial, out, *indices, before, hidden, g, more_before, *results))
    return gradients


def _second_on_core(functions, radial, out, before, g, back, h_functions, wanted):
    slots, num_radial = functions.shape
    channels, rows = radial.shape[1], before.shape
    arrays = fitting(
        "edge_embedding",
        functions.dtype,
        radial=(radial, (num_radial, channels)),
        out=(out, (channels, channels)),
        before=(before, (slots, channels)),
        g=(g, rows),
        back=(back, (2, *rows)),
        h_functions=(h_functions, functions.shape),
    )
    gradients = _second_fake(functions, radial, out, before, g, back, h_functions, wanted)
    results = [t if want else None for t, want in zip(gradients, (wanted[0], wanted[1], True, wanted[2]), strict=True)]
    _SECOND(functions.dtype, (slots, num_radial, channels), (*arrays, *results))
    return gradients


def _fake(functions, radial, senders, receivers, bias, out, species, sender, receiver):
    return tuple(functions.new_empty(functions.shape[0], radial.shape[1]) for _ in range(3))


def _first_fake(*inputs):
    wanted, before = inputs[-1], inputs[9]
    gradients = (allocate(t, want) for t, want in zip(inputs[:6], wanted, strict=True))
    return *gradients, before.new_empty(2, *before.shape)


def _second_fake(functions, radial, out, before, g, back, h_functions, wanted):
    return allocate(radial, wanted[0]), allocate(out, wanted[1]), allocate(before), allocate(g, wanted[2])


def _backward(arguments, needs, g, more_before, _):
    *operands, before, hidden = arguments
    wanted = list(needs[:6])
    return keep_wanted(_first(*operands, before, hidden, g, more_before, wanted)[:6], wanted)


def _first_backward(arguments, needs, *tangents):
    *operands, before, _, g, more_before, _, back = arguments
    if g is None or more_before is not None:
        raise RuntimeError("equitensor::edge_embedding may be differentiated twice only")
    tangents = tangents[:6]
    if any(h is not None for h in tangents[1:]):
        *gradients, by_g = second_by_parts(
            lambda *points: edge_embedding_by_parts(*points, *operands[6:]), operands[:6], g, tangents
        )
        return *gradients, *(None,) * 5, by_g
    functions, radial, out = operands[0], operands[1], operands[5]
    wanted = [needs[1], needs[5], needs[11]]
    gradients = _second(functions, radial, out, before, g, back, tangents[0], wanted)
    by_radial, by_out, by_before, by_g = keep_wanted(gradients, (*wanted[:2], True, wanted[2]))
    return None, by_radial, None, None, None, by_out, None, None, None, by_before, None, by_g


_OPERANDS = "Tensor functions, Tensor radial, Tensor senders, Tensor receivers, Tensor bias, Tensor out"
_INDICES = "Tensor species, Tensor sender, Tensor receiver"
_second = define(
    "edge_embedding_second(Tensor functions, Tensor radial, Tensor out, Tensor before, Tensor g, Tensor back,"
    " Tensor h_functions, bool[3] wanted) -> (Tensor, Tensor, Tensor, Tensor)",
    kernel=_second_on_core,
    fake=_second_fake,
)
_first = define(
    f"edge_embedding_first({_OPERANDS}, {_INDICES}, Tensor before, Tensor hidden, Tensor? g, Tensor? more_before,"
    f" bool[6] wanted) -> ({', '.join(['Tensor'] * 7)})",
    kernel=_first_on_core,
    fake=_first_fake,
    backward=_first_backward,
    kept=1,
)
_embedding = define(
    f"edge_embedding({_OPERANDS}, {_INDICES}) -> (Tensor, Tensor, Tensor)",
    kernel=_on_core,
    fake=_fake,
    backward=_backward,
    kept=2,
)
