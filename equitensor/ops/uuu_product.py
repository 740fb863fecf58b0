"""z = w . (x (x) y), channel by channel ("uuu"), path by path, any weights.

For each pair of blocks the products x_i y_j meet the couplings of all its paths in one matrix product, T = W (x y),
and the weights multiply T on its way into z. Items go through in portions, so that products stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from equitensor.ops.cuda import uuu_product as on_gpu
from equitensor.ops.multilinear import Forms, proofs, register
from equitensor.ops.operator import Kernel, integers
from equitensor.ops.uuu_workspace import Layout, Workspace, unpack_pairs

SCRATCH = 1 << 19  # elements of the array of products of a portion


def uuu_product(x: Tensor, y: Tensor, w: Tensor, table: Tensor, plan: Tensor, layout: Layout) -> Tensor:
    """z (n, d3 C) of rows x (n, d1 C) and y (n, d2 C), any number of times differentiable.

    w: (P, n, C), or of one item or channel, (P, 1, C) or (P, 1, 1), for all; plan and table as `pack_pairs` makes them.
    """
    return torch.ops.equitensor.uuu_product(x, y, w, table, plan, *layout)


def _values(x, y, w, table, plan, *layout):
    layout = Layout(*layout)
    z = _allocate(x, layout.shape(x), plan, layout)
    for part, workspace in _portions(x, w, table, plan, layout):
        workspace.load(part, x, y, w)
        for pair in workspace.pairs:
            _spread(pair, pair.couple(pair.x, pair.y), pair.weights)
        workspace.store(part, z)
    return z


def _gradients(x, y, w, g, need_x, need_y, need_w, table, plan, *layout):
    layout = Layout(*layout)
    of_x, of_y = (_allocate(t, t.shape if need else (0,), plan, layout) for t, need in ((x, need_x), (y, need_y)))
    of_w = w.new_zeros(w.shape if need_w else 0)
    for part, workspace in _portions(x, w, table, plan, layout, gradients=True):
        workspace.load(part, x, y, w, g)
        for pair in workspace.pairs:
            if need_w:
                _to_weights(pair, pair.couple(pair.x, pair.y))
            if need_x or need_y:
                _back(pair, pair.weights)
            if need_x:
                _to_first(pair, pair.parts_y)
            if need_y:
                _to_second(pair, pair.parts_x)
        workspace.store_gradients(part, of_x if need_x else None, of_y if need_y else None, of_w if need_w else None)
    return of_x, of_y, of_w


def _tangents(x, y, w, g, h_x, h_y, h_w, table, plan, *layout):
    layout = Layout(*layout)
    of_g, of_x, of_y = (_allocate(t, t.shape, plan, layout) for t in (g, x, y))
    of_w = w.new_zeros(w.shape)
    for part, workspace in _portions(x, w, table, plan, layout, gradients=True, tangents=True):
        workspace.load(part, x, y, w, g)
        workspace.load_tangents(part, h_x, h_y, h_w)
        for pair in workspace.pairs:
            if h_x is not None or h_y is not None:
                _tangents_of_operands(pair, h_x is not None, h_y is not None)
            if h_w is not None:
                _tangents_of_weights(pair)
        workspace.store_gradients(part, of_x, of_y, of_w)
        workspace.store(part, of_g)
    return of_g, of_x, of_y, of_w


def _allocate(like: Tensor, shape: tuple, plan: Tensor, layout: Layout) -> Tensor:
    """A result that the portions fill; zeros if there are no portions."""
    make = like.new_empty if _has_work(like, plan, layout) else like.new_zeros
    return make(shape)


def _has_work(x: Tensor, plan: Tensor, layout: Layout) -> bool:
    return bool(len(x) and layout.channels and len(plan))


def _portions(x, w, table, plan, layout, **kinds) -> Iterator[tuple[slice, Workspace]]:
    items = x.shape[0]
    if not _has_work(x, plan, layout):
        return
    pairs = unpack_pairs(plan, table)
    products = max(pair.matrix.shape[1] for pair in pairs) * layout.channels
    step = max(1, SCRATCH // products) if x.device.type == "cpu" else items
    step = -(-items // -(-items // step))  # portions of equal size, the last filled up with zeros
    workspace = Workspace(pairs, w, layout, step, **kinds)
    for start in range(0, items, step):
        yield slice(start, min(start + step, items)), workspace


def _tangents_of_operands(pair: Workspace.Pair, of_first: bool, of_second: bool) -> None:
    if of_first:
        torch.mul(pair.d_x, pair.y, out=pair.products)
    if of_second and of_first:
        pair.products.addcmul_(pair.x, pair.d_y)
    elif of_second:
        torch.mul(pair.x, pair.d_y, out=pair.products)
    change = pair.contract()
    _spread(pair, change, pair.weights)
    _to_weights(pair, change, add=True)
    _back(pair, pair.weights)
    if of_second:
        _to_first(pair, pair.parts_d_y)
    if of_first:
        _to_second(pair, pair.parts_d_x)


def _tangents_of_weights(pair: Workspace.Pair) -> None:
    _spread(pair, pair.couple(pair.x, pair.y), pair.d_weights)
    _back(pair, pair.d_weights)
    _to_first(pair, pair.parts_y)
    _to_second(pair, pair.parts_x)


def _spread(pair: Workspace.Pair, terms: list[Tensor], weights: list[Tensor]) -> None:
    """Adds the weighted terms of each path to z."""
    for z, term, weight in zip(pair.z, terms, weights, strict=True):
        z.addcmul_(term, weight)


def _back(pair: Workspace.Pair, weights: list[Tensor]) -> None:
    """back = sum over rows of W_rij w_r g_r, (i, j, n, C), in the views `back_by_x` and `back_by_y` of the pair."""
    for g, g_terms, weight in zip(pair.g, pair.g_terms, weights, strict=True):
        torch.mul(g, weight, out=g_terms)
    pair.contract_back()


def _to_first(pair: Workspace.Pair, y: tuple[Tensor, ...]) -> None:
    """Adds sum_j back_ij y_j to the gradient of x, without an array of these products."""
    for back, factor in zip(pair.back_by_y, y, strict=True):
        pair.of_x.addcmul_(back, factor)


def _to_second(pair: Workspace.Pair, x: tuple[Tensor, ...]) -> None:
    """Adds sum_i back_ij x_i to the gradient of y."""
    for back, factor in zip(pair.back_by_x, x, strict=True):
        pair.of_y.addcmul_(back, factor)


def _to_weights(pair: Workspace.Pair, terms: list[Tensor], add: bool = False) -> None:
    """sum_k T_k g_k of each path; a path alone has its row of w."""
    for g, term, total in zip(pair.g, terms, pair.of_w, strict=True):
        if add:
            total += (term * g).sum(0)
        else:
            torch.sum(term.mul_(g), 0, out=total)


_KERNEL = Kernel("uuu_product", sizes=12, arrays=16)


def _check(operands, constants) -> None:
    (x, y, w), (table, plan, *layout) = operands, constants
    layout = Layout(*layout)
    channels, items = layout.channels, x.shape[0]
    widths = [sum(sizes) * channels for sizes in layout[:2]]
    if x.shape != (items, widths[0]) or y.shape != (items, widths[1]):
        raise RuntimeError(
            f"uuu_product: x and y have shapes {list(x.shape)} and {list(y.shape)}, expected (n, {widths[0]}) and "
            f"(n, {widths[1]})"
        )
    if w.dim() != 3 or w.shape[1] not in (items, 1) or w.shape[2] not in (channels, 1):
        expected = f"(paths, {items} or 1, {channels} or 1)"
        raise RuntimeError(f"uuu_product: w has shape {list(w.shape)}, expected {expected}")
    if plan.dim() != 2 or plan.shape[1] != 7 or plan.dtype != torch.int64 or table.dtype != x.dtype:
        raise RuntimeError(f"uuu_product: expected plan (paths, 7) int64 and a table in {x.dtype}")


def _on_core(operands, g, h, results, constants):
    _check(operands, constants)
    (x, _, w), (table, plan, *layout) = operands, constants
    layout = Layout(*layout)
    channels, items = layout.channels, x.shape[0]
    sizes = [integers(tuple(part)) for part in layout[:3]]
    scalars = (items, channels, layout.channels_last, *w.shape, plan.shape[0], table.numel(), *map(len, layout[:3]))
    arrays = (*operands, g, *(h or (None,) * 3), table.contiguous(), plan.contiguous(), *sizes)
    _KERNEL(x.dtype, (*scalars, h is not None), (*arrays, *results))


_REFERENCE, _ON_GPU = Forms(_values, _gradients, _tangents), Forms(on_gpu.values, on_gpu.gradients, on_gpu.tangents)


def _shape(x, y, w, table, plan, *layout) -> tuple[int, ...]:
    return Layout(*layout).shape(x)


register(
    "uuu_product",
    _REFERENCE,
    _on_core,
    "Tensor table, Tensor plan, int[] sizes_x, int[] sizes_y, int[] sizes_z, int channels, bool channels_last",
    _shape,
    on_gpu=_ON_GPU,
    proofs=proofs(_ON_GPU, _REFERENCE, _shape, on_gpu.small),
    check=_check,
)
