"""Operations linear in each of three operands, closed under differentiation, as torch.library operators.

S(x, y, w, g) = <g, z(x, y, w)> is linear in all four. An operation is three kernels, each of which saves nothing but
its arguments:

    name(x, y, w, ...)                      z = dS/dg
    name_gradients(x, y, w, g, needs, ...)  dS/dx, dS/dy, dS/dw
    name_tangents(x, y, w, g, h, ...)       dQ/dg, dQ/dx, dQ/dy, dQ/dw, with Q = S(h_x, y, w, g) + S(x, h_y, w, g)
                                            + S(x, y, h_w, g): what the gradient's own backward needs, in one pass

The derivatives of the third are sums of the first two, so any order exists. As operators they can be called from
TorchScript and are one node for torch.compile and torch.export: `torch.ops.equitensor.name`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

LIBRARY = torch.library.Library("equitensor", "FRAGMENT")
_TENSOR = "tensor"


def register(name: str, values: Callable, gradients: Callable, tangents: Callable, constants: str, shape: Callable):
    """Define the three operators; `constants` is the schema of the arguments that are not differentiated.

    shape(x, y, w, *constants): the shape of z. Kernels get (x, y, w, [g, needs | g, h_x, h_y, h_w], *constants); a
    gradient that is not needed is an empty tensor, a tangent that is zero None.
    """
    operands = "Tensor x, Tensor y, Tensor w"
    needs = "bool need_x, bool need_y, bool need_w"
    tangent = "Tensor? h_x, Tensor? h_y, Tensor? h_w"
    _define(f"{name}({operands}, {constants}) -> Tensor", values)
    _define(f"{name}_gradients({operands}, Tensor g, {needs}, {constants}) -> (Tensor, Tensor, Tensor)", gradients)
    _define(
        f"{name}_tangents({operands}, Tensor g, {tangent}, {constants}) -> (Tensor, Tensor, Tensor, Tensor)", tangents
    )
    _register_fakes(name, shape)
    _register_values(name)
    _register_gradients(name)
    _register_tangents(name)


def _define(schema: str, kernel: Callable) -> None:
    @functools.wraps(kernel)
    def call(x, *others):
        """In the precision of the operands: autocast would lower it in the middle of a sum."""
        if not torch.is_autocast_enabled(x.device.type):
            return kernel(x, *others)
        with torch.autocast(x.device.type, enabled=False):
            return kernel(x, *others)

    LIBRARY.define(schema)
    LIBRARY.impl(schema.partition("(")[0], call, "CompositeExplicitAutograd")


def _operator(name: str) -> Callable:
    return getattr(torch.ops.equitensor, name).default


def _register_fakes(name: str, shape: Callable) -> None:
    def values(x, y, w, *constants):
        return x.new_empty(shape(x, y, w, *constants))

    def gradients(x, y, w, g, need_x, need_y, need_w, *constants):
        pairs = zip((x, y, w), (need_x, need_y, need_w), strict=True)
        return tuple(t.new_empty(t.shape if need else 0) for t, need in pairs)

    def tangents(x, y, w, g, h_x, h_y, h_w, *constants):
        return tuple(t.new_empty(t.shape) for t in (g, x, y, w))

    for suffix, fake in (("", values), ("_gradients", gradients), ("_tangents", tangents)):
        torch.library.register_fake(f"equitensor::{name}{suffix}", fake, lib=LIBRARY)


def _register_values(name: str) -> None:
    gradients = _operator(f"{name}_gradients")

    def setup_context(ctx, inputs, output):
        _keep(ctx, inputs)

    def backward(ctx, g):
        x, y, w, *constants = _inputs(ctx)
        needs = ctx.needs_input_grad[:3]
        found = gradients(x, y, w, g.contiguous(), *needs, *constants)
        return (*_kept(found, needs), *[None] * len(constants))

    torch.library.register_autograd(f"equitensor::{name}", backward, setup_context=setup_context, lib=LIBRARY)


def _register_gradients(name: str) -> None:
    tangents = _operator(f"{name}_tangents")

    def setup_context(ctx, inputs, output):
        ctx.set_materialize_grads(False)
        _keep(ctx, inputs)

    def backward(ctx, *h):
        x, y, w, g, *rest = _inputs(ctx)
        needs, constants = rest[:3], rest[3:]
        h = [None if t is None or not need else t.contiguous() for t, need in zip(h, needs, strict=True)]
        if all(t is None for t in h):
            return (None,) * (7 + len(constants))
        of_g, of_x, of_y, of_w = tangents(x, y, w, g, *h, *constants)
        kept = _kept((of_x, of_y, of_w, of_g), ctx.needs_input_grad[:4])
        return (*kept, None, None, None, *[None] * len(constants))

    torch.library.register_autograd(f"equitensor::{name}_gradients", backward, setup_context=setup_context, lib=LIBRARY)


def _register_tangents(name: str) -> None:
    values, gradients, tangents = (_operator(name + suffix) for suffix in ("", "_gradients", "_tangents"))

    def setup_context(ctx, inputs, output):
        ctx.set_materialize_grads(False)
        _keep(ctx, inputs)

    def backward(ctx, *cotangents):
        """With b = (b_x, b_y, b_w, b_g): the gradients of D_b D_h S, in h by polarisation, in the operands by pairs."""
        operands, h, constants = (inputs := _inputs(ctx))[:4], inputs[4:7], inputs[7:]
        b = [*cotangents[1:], cotangents[0]]
        totals, of_h = [None] * 4, [None] * 3
        if any(t is not None for t in b[:3]):
            of_h = list(tangents(*operands, *b[:3], *constants)[1:])
        if b[3] is not None:
            _accumulate(of_h, range(3), gradients(*operands[:3], b[3], True, True, True, *constants))
        for s in (s for s in range(3) if h[s] is not None):
            for t in (t for t in range(4) if t != s and b[t] is not None):
                swapped = [*operands]
                swapped[s], swapped[t] = h[s], b[t]
                rest = [slot for slot in range(4) if slot not in (s, t)]
                needs = [slot in rest for slot in range(3)]
                found = gradients(*swapped, *needs, *constants)
                _accumulate(totals, [slot for slot in rest if slot < 3], [found[r] for r in rest if r < 3])
                if 3 in rest:
                    _accumulate(totals, [3], [values(*swapped[:3], *constants)])
        of_h = [None if given is None else term for given, term in zip(h, of_h, strict=True)]
        return (*totals, *of_h, *[None] * len(constants))

    torch.library.register_autograd(f"equitensor::{name}_tangents", backward, setup_context=setup_context, lib=LIBRARY)


def _keep(ctx, inputs: tuple) -> None:
    ctx.save_for_backward(*(t for t in inputs if isinstance(t, Tensor)))
    ctx.others = [_TENSOR if isinstance(t, Tensor) else t for t in inputs]


def _inputs(ctx) -> list:
    """The arguments again: tensors from where autograd keeps them, others as they were."""
    tensors = iter(ctx.saved_tensors)
    return [next(tensors) if other == _TENSOR else other for other in ctx.others]


def _kept(gradients: tuple, needs: tuple) -> list:
    return [gradient if need else None for gradient, need in zip(gradients, needs, strict=True)]


def _accumulate(totals: list, slots, terms) -> None:
    for slot, term in zip(slots, terms, strict=True):
        totals[slot] = term if totals[slot] is None else totals[slot] + term
