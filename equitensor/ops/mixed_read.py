"""Mixed by degree, read out along edges: `degree_linear` and `read_edges` as one operator, for the CPU.

On small graphs, nodes of autograd cost as much as kernels. It returns B W as well; the gradient's own gradient is one
by that, too, as in `gathered_product`. It may be differentiated twice; the reference is the two, one after the other.
"""

from __future__ import annotations

from torch import Tensor

from equitensor.ops.degree_linear import degree_linear, linear_on_core, outer_on_core
from equitensor.ops.edge_form import gradient_on_core, read_edges, read_on_core
from equitensor.ops.extension import compiled
from equitensor.ops.operator import define, given, room


def mixed_read(harmonics: Tensor, features: Tensor, matrices: Tensor, factor: Tensor, rev: Tensor) -> Tensor:
    """read_edges(Y, B W, r, rev): (n width, c).

    harmonics Y (n, width, d), features B (n, d, C), matrices W (L+1, C, c), factor r (n width, c), rev (n width,).
    """
    if compiled(harmonics, features, matrices, factor):
        return _read(harmonics, features, matrices, factor, rev)[0]
    return read_edges(harmonics, degree_linear(features, matrices), factor, rev)


def _on_core(harmonics, features, matrices, factor, rev):
    mixed = linear_on_core(features, matrices, False)
    return read_on_core(harmonics, mixed, factor, rev), mixed


def _first_on_core(harmonics, features, matrices, factor, rev, mixed, g, more_mixed, wanted):
    """The gradients of the four, those wanted, given those by the result and by B W; the one by B W in all."""
    of_harmonics, of_features, of_matrices, of_factor = wanted
    if g is None:
        by_harmonics, by_factor, g_mixed = room(harmonics, False), room(factor, False), more_mixed.clone()
    else:
        asked = [of_harmonics, of_factor, False, of_features or of_matrices]
        by_harmonics, by_factor, _, g_mixed = gradient_on_core((harmonics, factor, g, mixed), rev, None, asked)
        if asked[3] and more_mixed is not None:
            g_mixed.add_(more_mixed)
    by_features = linear_on_core(g_mixed, matrices, True) if of_features else room(features, False)
    by_matrices = outer_on_core(features, g_mixed, len(matrices)) if of_matrices else room(matrices, False)
    return by_harmonics, by_features, by_matrices, by_factor, g_mixed


def _second_on_core(harmonics, features, matrices, factor, rev, mixed, g, g_mixed, *more):
    """With h along the four: the gradients of <h, first> by them, B W and g."""
    h_harmonics, h_features, h_matrices, h_factor, wanted = more
    of_harmonics, of_features, of_matrices, of_factor, of_mixed, of_g = wanted
    along, by_features, by_matrices = None, room(features, False), room(matrices, False)
    if h_features is not None:
        along = linear_on_core(h_features, matrices, False)
        if of_matrices:
            by_matrices = outer_on_core(h_features, g_mixed, len(matrices))
    if h_matrices is not None:
        change = linear_on_core(features, h_matrices, False)
        along = change if along is None else along.add_(change)
        if of_features:
            by_features = linear_on_core(g_mixed, h_matrices, True)
    point, tangent = (harmonics, factor, g, mixed), (h_harmonics, h_factor, None, along)
    asked = [of_harmonics, of_factor, of_g, of_mixed]
    by_harmonics, by_factor, by_g, by_mixed = gradient_on_core(point, rev, tangent, asked)
    return by_harmonics, by_features, by_matrices, by_factor, by_mixed, by_g


def _backward(arguments, needs, g, more_mixed):
    *operands, rev, mixed = arguments
    on_edges = g is not None
    wanted = [needs[0] and on_edges, needs[1], needs[2], needs[3] and on_edges]
    return given(_first(*operands, rev, mixed, g, more_mixed, wanted)[:4], wanted)


def _first_backward(arguments, needs, *along):
    *point, g, more_mixed, _, g_mixed = arguments
    if g is None or more_mixed is not None:
        raise RuntimeError("equitensor::mixed_read may be differentiated twice only")
    along = along[:4]
    of_features, of_matrices = needs[1] and along[2] is not None, needs[2] and along[1] is not None
    wanted = [needs[0], of_features, of_matrices, needs[3], needs[5], needs[6]]
    *found, of_mixed, of_g = given(_second(*point, g, g_mixed, *along, wanted), wanted)
    return *found, None, of_mixed, of_g


def _rooms(operands: tuple, wanted) -> tuple[Tensor, ...]:
    return tuple(room(t, want) for t, want in zip(operands, wanted, strict=True))


def _first_fake(harmonics, features, matrices, factor, rev, mixed, g, more_mixed, wanted):
    found = _rooms((harmonics, features, matrices, factor), wanted)
    return *found, room(mixed, g is None or wanted[1] or wanted[2])


def _fake(harmonics, features, matrices, factor, rev):
    return room(factor, True), features.new_empty(*features.shape[:2], matrices.shape[2])


_OPERANDS = "Tensor harmonics, Tensor features, Tensor matrices, Tensor factor, Tensor rev"
_ALONG = ", ".join(f"Tensor? h_{name}" for name in ("harmonics", "features", "matrices", "factor"))
_second = define(
    f"mixed_read_second({_OPERANDS}, Tensor mixed, Tensor g, Tensor g_mixed, {_ALONG}, bool[6] wanted)"
    f" -> ({', '.join(['Tensor'] * 6)})",
    kernel=_second_on_core,
    fake=lambda *inputs: _rooms((*inputs[:4], *inputs[5:7]), inputs[-1]),
)
_first = define(
    f"mixed_read_first({_OPERANDS}, Tensor mixed, Tensor? g, Tensor? more_mixed, bool[4] wanted)"
    f" -> ({', '.join(['Tensor'] * 5)})",
    kernel=_first_on_core,
    fake=_first_fake,
    backward=_first_backward,
    kept=1,
)
_read = define(
    f"mixed_read({_OPERANDS}) -> (Tensor, Tensor)",
    kernel=_on_core,
    fake=_fake,
    backward=_backward,
    kept=1,
)
