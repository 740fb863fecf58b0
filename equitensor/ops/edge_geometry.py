"""Spherical harmonics and Bessel functions of edge vectors, in one operator.

The kernel computes in float64 whatever precision it gets, and may be differentiated twice; its reference is
`spherical_harmonics`, `bessel` and `envelope`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.operator import Kernel, allocate, contiguous, define, keep_wanted


def edge_geometry(
    vectors: Tensor, cutoff: float, num_radial: int, lmax: int, index: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Y_lm(r/d) (e, (lmax+1)^2), b_n(d) (e, num_radial) and u(d/cutoff) b_n(d) of vectors r (e, 3), none of them zero.

    index and coefficients: of `raising_entries`.
    """
    return _geometry(vectors, cutoff, num_radial, lmax, index, coefficients)


def raising_entries(tables: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The entries of raising tables (o3.raising_tables): index (3, t) int32, rows out, in, axis; coefficients (t,).

    Y_out is the sum of coefficient Y_in r_axis, where components run over all degrees.
    """
    index, coefficients = [], []
    for l, table in enumerate(tables):
        coupling = table.view(2 * l + 1, 3, 2 * l + 3).permute(2, 0, 1)
        out, source, axis = coupling.nonzero().T
        index.append(torch.stack([(l + 1) ** 2 + out, l**2 + source, axis]))
        coefficients.append(coupling[out, source, axis])
    if not tables:
        return torch.zeros(3, 0, dtype=torch.int32), torch.zeros(0, dtype=torch.float64)
    return torch.cat(index, dim=1).to(torch.int32).contiguous(), torch.cat(coefficients).contiguous()


_GEOMETRY = Kernel("edge_geometry", sizes=4, constants=1, arrays=11)


def _run(vectors, tangent, gradients, constants, results) -> None:
    cutoff, num_radial, lmax, index, coefficients = constants
    if vectors.dim() != 2 or vectors.shape[1] != 3:
        raise RuntimeError(f"edge_geometry: vectors has shape {list(vectors.shape)}, expected (edges, 3)")
    if index.dtype != torch.int32 or coefficients.dtype != torch.float64 or index.shape != (3, len(coefficients)):
        raise RuntimeError("edge_geometry: expected index (3, t) int32 and coefficients (t,) float64")
    widths = ((lmax + 1) ** 2, num_radial, num_radial)
    for gradient, width in zip(gradients, widths, strict=True):
        if gradient is not None and (gradient.shape != (len(vectors), width) or gradient.dtype != vectors.dtype):
            raise RuntimeError(f"edge_geometry: a gradient has shape {list(gradient.shape)}, expected (edges, {width})")
    sizes = (vectors.shape[0], num_radial, lmax, index.shape[1], cutoff)
    tables = index.contiguous(), coefficients.contiguous()
    _GEOMETRY(vectors.dtype, sizes, (vectors, tangent, *gradients, *tables, *results))


def _results(vectors: Tensor, num_radial: int, lmax: int) -> tuple[Tensor, Tensor, Tensor]:
    edges = vectors.shape[0]
    return (
        vectors.new_empty(edges, (lmax + 1) ** 2),
        vectors.new_empty(edges, num_radial),
        vectors.new_empty(edges, num_radial),
    )


def _on_core(vectors, *constants):
    vectors, results = vectors.contiguous(), _results(vectors, *constants[1:3])
    _run(vectors, None, (None, None, None), constants, (*results, None))
    return results


def _first_on_core(vectors, g_harmonics, g_functions, g_radial, *constants):
    vectors, gradients = vectors.contiguous(), [contiguous(g) for g in (g_harmonics, g_functions, g_radial)]
    gradient = torch.empty_like(vectors)
    _run(vectors, None, gradients, constants, (None, None, None, gradient))
    return gradient


def _second_on_core(vectors, tangent, g_harmonics, g_functions, g_radial, *more):
    *constants, wanted = more
    gradients, results = (
        [contiguous(g) for g in (g_harmonics, g_functions, g_radial)],
        _results(vectors, *constants[1:3]),
    )
    vectors, tangent, gradient = vectors.contiguous(), tangent.contiguous(), allocate(vectors, wanted)
    _run(vectors, tangent, gradients, constants, (*results, gradient))
    return gradient, *results


def _first_backward(arguments, needs, tangent):
    vectors, *more = arguments
    of_vectors, *of_gradients = _second(vectors, tangent, *more, needs[0])
    wanted = [need and g is not None for need, g in zip(needs[1:4], more, strict=False)]
    return of_vectors if needs[0] else None, *keep_wanted(of_gradients, wanted)


_CONSTANTS = "float cutoff, int num_radial, int lmax, Tensor index, Tensor coefficients"
_GRADIENTS = "Tensor? g_harmonics, Tensor? g_functions, Tensor? g_radial"
_second = define(
    f"edge_geometry_second(Tensor vectors, Tensor tangent, {_GRADIENTS}, {_CONSTANTS}, bool wanted)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    kernel=_second_on_core,
    fake=lambda vectors, *more: (allocate(vectors, more[-1]), *_results(vectors, *more[5:7])),
)
_first = define(
    f"edge_geometry_first(Tensor vectors, {_GRADIENTS}, {_CONSTANTS}) -> Tensor",
    kernel=_first_on_core,
    fake=lambda vectors, *more: allocate(vectors),
    backward=_first_backward,
)
_geometry = define(
    f"edge_geometry(Tensor vectors, {_CONSTANTS}) -> (Tensor, Tensor, Tensor)",
    kernel=_on_core,
    fake=lambda vectors, cutoff, num_radial, lmax, *tables: _results(vectors, num_radial, lmax),
    backward=lambda arguments, needs, *gradients: (_first(arguments[0], *gradients, *arguments[1:]),),
)
