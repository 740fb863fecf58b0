"""Weighted powers of atomic densities in one pass over the channels: kernels only, which may be differentiated twice.

P_1 = A, P_k = P_{k-1} (x) A with a sparse tensor T. Its reference is in density_product_reference.py.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Size, Tensor

from equitensor.ops import availability
from equitensor.ops import density_product_reference as in_torch
from equitensor.ops.channel_product import check_tables
from equitensor.ops.cuda import density_product as on_gpu
from equitensor.ops.cuda.proof import Proof
from equitensor.ops.operator import Kernel, allocate, contiguous, define, keep_wanted

MOST_ENTRIES_ON_GPU = 400  # lmax 3; kernels for more take minutes to compile


class SparseTensor(NamedTuple):
    """T (paths, d, d, d) as `channel_product.sort_entries` lays it out; symmetric in its two operands or not."""

    indices: Tensor
    coefficients: Tensor
    symmetric: bool


def has_product_kernel(x: Tensor, tensor: SparseTensor) -> bool:
    """Whether kernels of these operators take these tensors."""
    return availability.has_kernel(x, on_gpu=tensor.indices.shape[2] <= MOST_ENTRIES_ON_GPU)


def density_features(x: Tensor, weight: Tensor, mix: Tensor | None, species: Tensor, tensor: SparseTensor) -> Tensor:
    """B_m = sum_k w_{z,k,l(m)} P_k,m: (n, d, C).

    x (n, d, C), weight (elements, order, degrees, C), mix (paths, C) the weights of the paths (None: ones), species
    (n,).
    """
    return _product(x, weight, mix, species, *tensor[:2], False, tensor.symmetric)


def density_invariants(x: Tensor, weight: Tensor, mix: Tensor | None, species: Tensor, tensor: SparseTensor) -> Tensor:
    """w_{z,1} A_00 + sum_k w_{z,k} sum_m P_a,m P_b,m with a + b = k, a <= b: (n, C); weight (elements, order, C)."""
    weight = weight.unsqueeze(2)
    invariants = _product(x, weight, mix, species, *tensor[:2], True, tensor.symmetric)
    return invariants.squeeze(1)


def density_powers(
    x: Tensor,
    weight: Tensor,
    mix: Tensor | None,
    species: Tensor,
    index: Tensor,
    coefficients: Tensor,
    invariants: bool,
    symmetric: bool,
) -> Tensor:
    """Either of the two, in one shape: (n, d, C) or (n, 1, C); weight (elements, order, degrees or 1, C)."""
    return _product(x, weight, mix, species, index, coefficients, invariants, symmetric)


_PRODUCT = Kernel("density_product", sizes=11, arrays=14)


@functools.lru_cache(maxsize=1024)
def _check(x: Size, weight: Size, mix: Size | None, species: Size, invariants: bool) -> None:
    """RuntimeError unless these shapes belong together."""
    if len(x) != 3:
        raise RuntimeError(f"density_product: x has shape {list(x)}, expected (n, d, channels)")
    atoms, components, channels = x
    if len(weight) != 4 or weight[3] != channels:
        expected = f"(elements, order, degrees, {channels})"
        raise RuntimeError(f"density_product: weight has shape {list(weight)}, expected {expected}")
    degrees = weight[2]
    if degrees != 1 if invariants else degrees * degrees != components:
        raise RuntimeError(f"density_product: weight has {degrees} degrees for {components} components")
    if mix is not None and (len(mix) != 2 or mix[1] != channels):
        raise RuntimeError(f"density_product: mix must have shape (paths, {channels})")
    if species.numel() != atoms:
        raise RuntimeError(f"density_product: species has shape {list(species)}, expected ({atoms},)")


def _checked(kernel):
    """A CUDA kernel that gets what fits: it knows addresses alone."""

    @functools.wraps(kernel)
    def call(x, weight, mix, *others):
        wanted = [others[-1]] if kernel is not on_gpu.values else []
        *tensors, species, index, coefficients, invariants, _ = others[: len(others) - len(wanted)]
        _check(x.shape, weight.shape, None if mix is None else mix.shape, species.shape, invariants)
        check_tables("density_product", index, coefficients)
        expected = [(x.shape[0], 1 if invariants else x.shape[1], x.shape[2]), x.shape, weight.shape]
        for t, shape in zip(tensors, [*expected, None if mix is None else mix.shape], strict=False):
            if t is not None and t.shape != shape:
                raise RuntimeError(f"density_product: g or a tangent has shape {list(t.shape)}, expected {shape}")
        return kernel(x, weight, mix, *others)

    return call


def _run(operands, g, h, constants, results) -> None:
    """operands: x, weight, mix; h: tangents of these, or None; results: out, dx, dweight, dmix, or None."""
    species, index, coefficients, invariants, symmetric = constants
    x, weight, mix = operands = [contiguous(t) for t in operands]
    species, index, coefficients = species.contiguous(), index.contiguous(), coefficients.contiguous()
    _check(x.shape, weight.shape, None if mix is None else mix.shape, species.shape, invariants)
    if weight.dtype != x.dtype or (mix is not None and mix.dtype != x.dtype) or species.dtype != torch.int64:
        raise RuntimeError(f"density_product: x is {x.dtype}, the weights are not, or species is not int64")
    entries = check_tables("density_product", index, coefficients)
    atoms, components, channels = x.shape
    if g is not None and (g.shape != (atoms, 1 if invariants else components, channels) or g.dtype != x.dtype):
        raise RuntimeError(f"density_product: g is {list(g.shape)} {g.dtype}")
    tangents = (None,) * 3 if h is None else [contiguous(t) for t in h]
    for t, like in zip(tangents, operands, strict=True):
        if t is not None and (t.shape != like.shape or t.dtype != like.dtype):
            raise RuntimeError(f"density_product: a tangent is {list(t.shape)} {t.dtype}, expected {list(like.shape)}")
    paths = 0 if mix is None else mix.shape[0]
    flags = (invariants, symmetric, h is not None)
    _PRODUCT(
        x.dtype,
        (*x.shape, *weight.shape[:3], paths, entries, *flags),
        (*operands, contiguous(g), *tangents, species, index, coefficients, *results),
    )


def output_of(x: Tensor, invariants: bool) -> Tensor:
    return x.new_empty(x.shape[0], 1 if invariants else x.shape[1], x.shape[2])


def product_on_core(x, weight, mix, *constants):
    out = output_of(x, constants[3])
    _run((x, weight, mix), None, None, constants, (out, None, None, None))
    return out


def _allocate_results(x, weight, mix, g, *more):
    """Uninitialised dx, dweight, dmix and, where a fourth is wanted, the output's tangent."""
    wanted = more[-1]
    likes = (x, weight, x if mix is None else mix, g)
    asked = (*wanted[:2], wanted[2] and mix is not None, *wanted[3:])
    return tuple(allocate(like, want) for like, want in zip(likes, asked, strict=False))


def first_on_core(x, weight, mix, g, *more):
    gradients = _allocate_results(x, weight, mix, g, *more)
    _run((x, weight, mix), g, None, more[:-1], (None, *gradients))
    return gradients


def second_on_core(x, weight, mix, g, h_x, h_weight, h_mix, *more):
    *gradients, of_out = _allocate_results(x, weight, mix, g, *more)
    _run((x, weight, mix), g, (h_x, h_weight, h_mix), more[:-1], (of_out, *gradients))
    return *gradients, of_out


def _first_backward(arguments, needs, h_x, h_weight, h_mix):
    x, weight, mix, g, *constants, _ = arguments
    wanted = [*needs[:2], needs[2] and mix is not None, needs[3]]
    h_mix = None if mix is None else h_mix
    return keep_wanted(_second(x, weight, mix, g, h_x, h_weight, h_mix, *constants, wanted), wanted)


def _backward(arguments, needs, g):
    x, weight, mix, *constants = arguments
    wanted = [*needs[:2], needs[2] and mix is not None]
    return keep_wanted(_first(x, weight, mix, g, *constants, wanted), wanted)


_OPERANDS = "Tensor x, Tensor weight, Tensor? mix"
CONSTANTS = "Tensor species, Tensor index, Tensor coefficients, bool invariants, bool symmetric"
_second = define(
    f"density_second({_OPERANDS}, Tensor g, Tensor? h_x, Tensor? h_weight, Tensor? h_mix, {CONSTANTS}, bool[4] wanted)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    kernel=second_on_core,
    fake=_allocate_results,
    reference=in_torch.second,
    on_gpu=_checked(on_gpu.second),
    operands=7,
    proof=Proof(on_gpu.second, in_torch.second, on_gpu.small(7)),
)
_first = define(
    f"density_first({_OPERANDS}, Tensor g, {CONSTANTS}, bool[3] wanted) -> (Tensor, Tensor, Tensor)",
    kernel=first_on_core,
    fake=_allocate_results,
    backward=_first_backward,
    reference=in_torch.first,
    on_gpu=_checked(on_gpu.first),
    operands=4,
    proof=Proof(on_gpu.first, in_torch.first, on_gpu.small(4)),
)
_product = define(
    f"density_product({_OPERANDS}, {CONSTANTS}) -> Tensor",
    kernel=product_on_core,
    fake=lambda x, weight, mix, species, index, coefficients, invariants, symmetric: output_of(x, invariants),
    backward=_backward,
    reference=in_torch.values,
    on_gpu=_checked(on_gpu.values),
    operands=3,
    proof=Proof(on_gpu.values, in_torch.values, on_gpu.small(3)),
)
