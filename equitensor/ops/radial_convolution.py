"""z_i = sum over edges j -> i of (h_ij M) . (x_j (x) y_ij): the uvu convolution with a radial network's last layer.

The kernels of the core take the edges in chunks whose weights h M, and the gradients of these, stay in the cache:
nothing of size (edges, weights) reaches memory. Derivatives compute the weights again, one matrix product more than
with weights that are kept. In plain torch, and on GPUs, a chunk is all edges.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.ops.multilinear import Forms, register
from equitensor.ops.operator import Kernel
from equitensor.ops.uvu_convolution import uvu_convolution
from equitensor.ops.uvu_paths import check_edges, check_rows

NAME = "radial_convolution"
CONSTANTS = "Tensor sender, Tensor receiver, Tensor table, Tensor plan, int width"


def radial_convolution(
    x: Tensor,
    y: Tensor,
    hidden: Tensor,
    matrix: Tensor,
    sender: Tensor,
    receiver: Tensor,
    table: Tensor,
    plan: Tensor,
    width: int,
) -> Tensor:
    """`uvu_convolution(x, y, hidden @ matrix, ...)`, any number of times differentiable in all four.

    x (n, d1), y (e, d2), hidden (e, H), matrix (H, weights): (n, width).
    """
    return torch.ops.equitensor.radial_convolution(x, y, hidden, matrix, sender, receiver, table, plan, width)


def _values(x, y, hidden, matrix, *constants):
    return uvu_convolution(x, y, hidden @ matrix, *constants)


def _gradients(x, y, hidden, matrix, g, need_x, need_y, need_hidden, need_matrix, *constants):
    needs = (need_x, need_y, need_hidden or need_matrix)
    of_x, of_y, of_w = torch.ops.equitensor.uvu_convolution_gradients(x, y, hidden @ matrix, g, *needs, *constants)
    of_hidden = of_w @ matrix.T if need_hidden else hidden.new_empty(0)
    of_matrix = hidden.T @ of_w if need_matrix else matrix.new_empty(0)
    return of_x, of_y, of_hidden, of_matrix


def _tangents(x, y, hidden, matrix, g, h_x, h_y, h_hidden, h_matrix, *constants):
    """h_w = h_hidden M + h h_M: its gradient dS/dw, beside dQ/dw, goes to the factors that h_w is made of."""
    w, h_w = hidden @ matrix, None
    if h_hidden is not None:
        h_w = h_hidden @ matrix
    if h_matrix is not None:
        h_w = hidden @ h_matrix if h_w is None else h_w.addmm_(hidden, h_matrix)
    tangents = torch.ops.equitensor.uvu_convolution_tangents
    of_g, of_x, of_y, of_w = tangents(x, y, w, g, h_x, h_y, h_w, *constants)
    of_hidden, of_matrix = of_w @ matrix.T, hidden.T @ of_w
    if h_w is not None:
        of_w = torch.ops.equitensor.uvu_convolution_gradients(x, y, w, g, False, False, True, *constants)[2]
        if h_matrix is not None:
            of_hidden.addmm_(of_w, h_matrix.T)
        if h_hidden is not None:
            of_matrix.addmm_(h_hidden.T, of_w)
    return of_g, of_x, of_y, of_hidden, of_matrix


_KERNEL = Kernel("radial_convolution", sizes=10, arrays=18)


def _on_core(operands, g, h, results, constants):
    (x, y, hidden, matrix), (sender, receiver, table, plan, width) = operands, constants
    check_rows(NAME, x, y, hidden, table, plan)
    check_edges(NAME, y, hidden, sender, receiver)
    if matrix.dim() != 2 or matrix.shape[0] != hidden.shape[1]:
        shapes = f"{list(hidden.shape)} and {list(matrix.shape)}"
        raise RuntimeError(f"{NAME}: hidden and matrix have shapes {shapes}, expected (edges, H) and (H, weights)")
    arrays = (*operands, g, *(h or (None,) * 4), *(t.contiguous() for t in (sender, receiver, table, plan)))
    widths = (x.shape[1], y.shape[1], *matrix.shape, width)
    sizes = (x.shape[0], y.shape[0], *widths, plan.shape[0], table.numel(), h is not None)
    _KERNEL(x.dtype, sizes, (*arrays, *results))


register(
    NAME,
    Forms(_values, _gradients, _tangents),
    _on_core,
    CONSTANTS,
    lambda x, y, hidden, matrix, sender, receiver, table, plan, width: (x.shape[0], width),
    ("x", "y", "hidden", "matrix"),
)
