"""Operations linear in each of their operands, closed under differentiation, as torch.library operators.

With three operands, S(x, y, w, g) = <g, z(x, y, w)> is linear in all four; with more it is the same. An operation is
three kernels, each of which saves nothing but its arguments:

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


def register(
    name: str,
    values: Callable,
    gradients: Callable,
    tangents: Callable,
    constants: str,
    shape: Callable,
    operands: tuple[str, ...] = ("x", "y", "w"),
):
    """Define the three operators; `constants` is the schema of the arguments that are not differentiated.

    shape(*operands, *constants): the shape of z. Kernels get (*operands, [g, needs | g, tangents], *constants), a need
    and a tangent for each operand; a gradient that is not needed is an empty tensor, a tangent that is zero None.
    """
    count, given = len(operands), ", ".join(f"Tensor {operand}" for operand in operands)
    needs = ", ".join(f"bool need_{operand}" for operand in operands)
    along = ", ".join(f"Tensor? h_{operand}" for operand in operands)
    found = ", ".join(["Tensor"] * count)
    _define(f"{name}({given}, {constants}) -> Tensor", values)
    _define(f"{name}_gradients({given}, Tensor g, {needs}, {constants}) -> ({found})", gradients)
    _define(f"{name}_tangents({given}, Tensor g, {along}, {constants}) -> (Tensor, {found})", tangents)
    _register_fakes(name, shape, count)
    _register_values(name, count)
    _register_gradients(name, count)
    _register_tangents(name, count)


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


def _register_fakes(name: str, shape: Callable, count: int) -> None:
    def values(*arguments):
        return arguments[0].new_empty(shape(*arguments))

    def gradients(*arguments):
        pairs = zip(arguments[:count], arguments[count + 1 : 2 * count + 1], strict=True)
        return tuple(t.new_empty(t.shape if need else 0) for t, need in pairs)

    def tangents(*arguments):
        return tuple(t.new_empty(t.shape) for t in (arguments[count], *arguments[:count]))

    for suffix, fake in (("", values), ("_gradients", gradients), ("_tangents", tangents)):
        torch.library.register_fake(f"equitensor::{name}{suffix}", fake, lib=LIBRARY)


def _register_values(name: str, count: int) -> None:
    gradients = _operator(f"{name}_gradients")

    def setup_context(ctx, inputs, output):
        _keep(ctx, inputs)

    def backward(ctx, g):
        inputs, needs = _inputs(ctx), ctx.needs_input_grad[:count]
        operands, constants = inputs[:count], inputs[count:]
        found = gradients(*operands, g.contiguous(), *needs, *constants)
        return (*_kept(found, needs), *[None] * len(constants))

    torch.library.register_autograd(f"equitensor::{name}", backward, setup_context=setup_context, lib=LIBRARY)


def _register_gradients(name: str, count: int) -> None:
    tangents = _operator(f"{name}_tangents")

    def setup_context(ctx, inputs, output):
        ctx.set_materialize_grads(False)
        _keep(ctx, inputs)

    def backward(ctx, *h):
        inputs = _inputs(ctx)
        operands, g = inputs[:count], inputs[count]
        needs, constants = inputs[count + 1 : 2 * count + 1], inputs[2 * count + 1 :]
        h = [None if t is None or not need else t.contiguous() for t, need in zip(h, needs, strict=True)]
        if all(t is None for t in h):
            return (None,) * len(inputs)
        of_g, *others = tangents(*operands, g, *h, *constants)
        kept = _kept((*others, of_g), ctx.needs_input_grad[: count + 1])
        return (*kept, *[None] * (count + len(constants)))

    torch.library.register_autograd(f"equitensor::{name}_gradients", backward, setup_context=setup_context, lib=LIBRARY)


def _register_tangents(name: str, count: int) -> None:
    values, gradients, tangents = (_operator(name + suffix) for suffix in ("", "_gradients", "_tangents"))

    def setup_context(ctx, inputs, output):
        ctx.set_materialize_grads(False)
        _keep(ctx, inputs)

    def backward(ctx, *cotangents):
        """With b = (b_x, b_y, b_w, b_g): the gradients of D_b D_h S, in h by polarisation, in the operands by pairs."""
        inputs = _inputs(ctx)
        operands, h, constants = inputs[: count + 1], inputs[count + 1 : 2 * count + 1], inputs[2 * count + 1 :]
        b = [*cotangents[1:], cotangents[0]]
        totals, of_h = [None] * (count + 1), [None] * count
        if any(t is not None for t in b[:count]):
            of_h = list(tangents(*operands, *b[:count], *constants)[1:])
        if b[count] is not None:
            needs = [True] * count
            _accumulate(of_h, range(count), gradients(*operands[:count], b[count], *needs, *constants))
        for s in (s for s in range(count) if h[s] is not None):
            for t in (t for t in range(count + 1) if t != s and b[t] is not None):
                swapped = [*operands]
                swapped[s], swapped[t] = h[s], b[t]
                rest = [slot for slot in range(count + 1) if slot not in (s, t)]
                needs = [slot in rest for slot in range(count)]
                found = gradients(*swapped, *needs, *constants)
                _accumulate(totals, [slot for slot in rest if slot < count], [found[r] for r in rest if r < count])
                if count in rest:
                    _accumulate(totals, [count], [values(*swapped[:count], *constants)])
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
