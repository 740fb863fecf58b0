"""The derivatives of the form of `edge_form` in plain torch, written out: F is linear in each of its four operands."""

from __future__ import annotations

import torch
from torch import Tensor


def first(harmonics, a, b, features, rev, wanted) -> tuple[Tensor, ...]:
    """The gradients of F with respect to harmonics, a, b and features; those that are not wanted are empty."""
    of_harmonics, of_a, of_b, of_features = wanted
    rows = _turned(a * b, rev).view(*harmonics.shape[:2], a.shape[1])
    empty = harmonics.new_empty(0)
    back = empty
    if of_a or of_b:
        back = torch.bmm(harmonics, features).flatten(0, 1)
        back = back if rev is None else torch.empty_like(back).index_copy_(0, rev, back)
    return (
        torch.bmm(rows, features.transpose(1, 2)) if of_harmonics else empty,
        back * b if of_a else empty,
        back * a if of_b else empty,
        torch.bmm(harmonics.transpose(1, 2), rows) if of_features else empty,
    )


def second(harmonics, a, b, features, rev, h_harmonics, h_a, h_b, h_features, wanted) -> tuple[Tensor, ...]:
    """The gradients of the JVP of F; None is a tangent that is zero."""
    operands, tangents = (harmonics, a, b, features), (h_harmonics, h_a, h_b, h_features)
    totals = [t.new_zeros(t.shape if want else 0) for t, want in zip(operands, wanted, strict=True)]
    for moved, tangent in enumerate(tangents):
        if tangent is None:
            continue
        y, one, other, f = (tangent if slot == moved else t for slot, t in enumerate(operands))
        others = [want and slot != moved for slot, want in enumerate(wanted)]
        for slot, term in enumerate(first(y, one, other, f, rev, others)):
            if others[slot]:
                totals[slot] += term
    return tuple(totals)


def _turned(rows: Tensor, rev: Tensor | None) -> Tensor:
    return rows if rev is None else rows.index_select(0, rev)
