"""Operations linear in each of their operands, closed under differentiation: families of three operators.

With three operands, S(x, y, w, g) = <g, z(x, y, w)> is linear in all four; with more it is the same. An operation is
three operators, each of which saves nothing but its arguments:

    name(x, y, w, ...)                      z = dS/dg
    name_gradients(x, y, w, g, needs, ...)  dS/dx, dS/dy, dS/dw
    name_tangents(x, y, w, g, h, ...)       dQ/dg, dQ/dx, dQ/dy, dQ/dw, with Q = S(h_x, y, w, g) + S(x, h_y, w, g)
                                            + S(x, y, h_w, g): what the gradient's own backward needs, in one pass

The derivatives of the third are sums of the first two, so any order exists. TorchScript may call them as
`torch.ops.equitensor.name`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.ops.cuda.proof import Draw, Proof
from equitensor.ops.operator import allocate, contiguous, define, keep_wanted

SUFFIXES = ("", "_gradients", "_tangents")


class Forms(NamedTuple):
    """What computes the three.

    They get (*operands, [g, needs | g, tangents], *constants), a need and a tangent for each operand; a gradient that
    is not needed is an empty tensor, a tangent that is zero None.
    """

    values: Callable
    gradients: Callable
    tangents: Callable


def register(
    name: str,
    reference: Forms,
    kernel: Callable,
    constants: str,
    shape: Callable,
    operands: tuple[str, ...] = ("x", "y", "w"),
    on_gpu: Forms | None = None,
    proofs: tuple[Proof, ...] = (),
    check: Callable | None = None,
) -> None:
    """Define the three operators; `constants` is the schema of the arguments that are not differentiated.

    shape(*operands, *constants): the shape of z. kernel(operands, g, tangents, results, constants), all of them
    contiguous: fills results, z or its tangent first, then a gradient for each operand, None where there is none; g and
    tangents are None where they do not belong. check(operands, constants): RuntimeError unless these are what a CUDA
    kernel can read.
    """
    count, arguments = len(operands), ", ".join(f"Tensor {operand}" for operand in operands)
    needs = ", ".join(f"bool need_{operand}" for operand in operands)
    tangents = ", ".join(f"Tensor? h_{operand}" for operand in operands)
    returned = ", ".join(["Tensor"] * count)
    schemas = (
        f"{name}({arguments}, {constants}) -> Tensor",
        f"{name}_gradients({arguments}, Tensor g, {needs}, {constants}) -> ({returned})",
        f"{name}_tangents({arguments}, Tensor g, {tangents}, {constants}) -> (Tensor, {returned})",
    )
    kernels, fakes = _on_core(name, kernel, shape, count), _fakes(shape, count)
    derivatives = _values_backward(name, count), _gradients_backward(name, count), _tangents_backward(name, count)
    if on_gpu is not None and check is not None:
        on_gpu = _checked(name, on_gpu, check, shape, count)
    for n, schema in enumerate(schemas):
        define(
            schema,
            kernel=kernels[n],
            fake=fakes[n],
            backward=derivatives[n],
            reference=reference[n],
            on_gpu=None if on_gpu is None else on_gpu[n],
            operands=count + (n > 0),
            proof=proofs[n] if proofs else None,
        )


def _checked(name: str, kernels: Forms, check: Callable, shape: Callable, count: int) -> Forms:
    """Kernels get addresses alone: what does not fit would be read beyond its end."""

    def check_all(arguments: tuple, tangents: tuple) -> None:
        operands, constants = arguments[:count], arguments[2 * count + 1 :]
        check(operands, constants)
        expected = [(arguments[count], shape(*operands, *constants))]
        expected += [(t, like.shape) for t, like in zip(tangents, operands, strict=False)]
        for t, wanted in expected:
            if t is not None and tuple(t.shape) != tuple(wanted):
                raise RuntimeError(f"{name}: g or a tangent has shape {list(t.shape)}, expected {list(wanted)}")

    def values(*arguments):
        check(arguments[:count], arguments[count:])
        return kernels.values(*arguments)

    def gradients(*arguments):
        check_all(arguments, ())
        return kernels.gradients(*arguments)

    def tangents(*arguments):
        check_all(arguments, arguments[count + 1 : 2 * count + 1])
        return kernels.tangents(*arguments)

    return Forms(values, gradients, tangents)


def proofs(kernels: Forms, reference: Forms, shape: Callable, small: Callable) -> tuple[Proof, Proof, Proof]:
    """Of the three; small(draw, operands, constants) gives operands and constants, for three operands."""

    def values(draw: Draw, arguments: tuple) -> tuple:
        operands, constants = small(draw, arguments[:3], arguments[3:])
        return (*operands, *constants)

    def gradients(draw: Draw, arguments: tuple) -> tuple:
        operands, constants = small(draw, arguments[:3], arguments[7:])
        return (*operands, draw.normal(*shape(*operands, *constants)), *arguments[4:7], *constants)

    def tangents(draw: Draw, arguments: tuple) -> tuple:
        operands, constants = small(draw, arguments[:3], arguments[7:])
        pairs = zip(operands, arguments[4:7], strict=True)
        h = [None if h is None else draw.normal(*t.shape) for t, h in pairs]
        return (*operands, draw.normal(*shape(*operands, *constants)), *h, *constants)

    return (
        Proof(kernels.values, reference.values, values),
        Proof(kernels.gradients, reference.gradients, gradients),
        Proof(kernels.tangents, reference.tangents, tangents),
    )


def _on_core(name: str, kernel: Callable, shape: Callable, count: int) -> Forms:
    def ready(tensors, like: Tensor):
        for t in tensors:
            if t is not None and t.dtype != like.dtype:
                raise RuntimeError(f"{name}: x is {like.dtype}, another operand {t.dtype}")
        return [contiguous(t) for t in tensors]

    def values(*arguments):
        operands, constants = ready(arguments[:count], arguments[0]), arguments[count:]
        z = operands[0].new_empty(shape(*arguments))
        kernel(operands, None, None, (z, *[None] * count), constants)
        return z

    def gradients(*arguments):
        (*operands, g), needs = ready(arguments[: count + 1], arguments[0]), arguments[count + 1 : 2 * count + 1]
        results = tuple(allocate(t, need) for t, need in zip(operands, needs, strict=True))
        kernel(operands, g, None, (None, *results), arguments[2 * count + 1 :])
        return results

    def tangents(*arguments):
        *operands, g = ready(arguments[: count + 1], arguments[0])
        results = tuple(allocate(t) for t in (g, *operands))
        h = ready(arguments[count + 1 : 2 * count + 1], g)
        for t, like in zip(h, operands, strict=True):
            if t is not None and t.shape != like.shape:
                raise RuntimeError(f"{name}: a tangent has shape {list(t.shape)}, expected {list(like.shape)}")
        kernel(operands, g, h, results, arguments[2 * count + 1 :])
        return results

    return Forms(values, gradients, tangents)


def _fakes(shape: Callable, count: int) -> Forms:
    def values(*arguments):
        return arguments[0].new_empty(shape(*arguments))

    def gradients(*arguments):
        pairs = zip(arguments[:count], arguments[count + 1 : 2 * count + 1], strict=True)
        return tuple(t.new_empty(t.shape if need else 0) for t, need in pairs)

    def tangents(*arguments):
        return tuple(t.new_empty(t.shape) for t in (arguments[count], *arguments[:count]))

    return Forms(values, gradients, tangents)


def _operators(name: str) -> tuple[Callable, ...]:
    return tuple(getattr(torch.ops.equitensor, name + suffix) for suffix in SUFFIXES)


def _values_backward(name: str, count: int) -> Callable:
    def backward(arguments, needs, g):
        _, gradients, _ = _operators(name)
        operands, constants, needs = arguments[:count], arguments[count:], needs[:count]
        return keep_wanted(gradients(*operands, g, *needs, *constants), needs)

    return backward


def _gradients_backward(name: str, count: int) -> Callable:
    def backward(arguments, needs, *h):
        _, _, tangents = _operators(name)
        operands, g = arguments[:count], arguments[count]
        wanted, constants = arguments[count + 1 : 2 * count + 1], arguments[2 * count + 1 :]
        h = [t if want else None for t, want in zip(h, wanted, strict=True)]
        if all(t is None for t in h):
            return ()
        of_g, *others = tangents(*operands, g, *h, *constants)
        return keep_wanted((*others, of_g), needs[: count + 1])

    return backward


def _tangents_backward(name: str, count: int) -> Callable:
    def backward(arguments, needs, *cotangents):
        """With b = (b_x, b_y, b_w, b_g): the gradients of D_b D_h S, in h by polarisation, in the operands by pairs."""
        values, gradients, tangents = _operators(name)
        operands, h, constants = (
            arguments[: count + 1],
            arguments[count + 1 : 2 * count + 1],
            arguments[2 * count + 1 :],
        )
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
                derivatives = gradients(*swapped, *needs, *constants)
                _accumulate(
                    totals, [slot for slot in rest if slot < count], [derivatives[r] for r in rest if r < count]
                )
                if count in rest:
                    _accumulate(totals, [count], [values(*swapped[:count], *constants)])
        of_h = [None if tangent is None else term for tangent, term in zip(h, of_h, strict=True)]
        return (*totals, *of_h)

    return backward


def _accumulate(totals: list, slots, terms) -> None:
    for slot, term in zip(slots, terms, strict=True):
        totals[slot] = term if totals[slot] is None else totals[slot] + term
