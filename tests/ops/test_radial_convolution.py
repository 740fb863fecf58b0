"""The convolution behind a radial network's last layer, against the same with that layer's product as a tensor."""

import pytest
import torch

from equitensor import testing
from equitensor.errors import InputError
from equitensor.nn import Convolution
from equitensor.o3 import wigner_3j
from equitensor.ops import radial_convolution as reference
from equitensor.ops.radial_convolution import radial_convolution
from equitensor.ops.uvu_convolution import uvu_convolution
from equitensor.ops.uvu_paths import UVUPath, pack_paths

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
HIDDEN = 5
# nodes, senders, receivers: unsorted, alone, crowded beyond a chunk's edges; nothing to sum
GRAPHS = {
    "ragged": (5, [0, 0, 2, 4, 4, 4, 1], [1, 2, 0, 0, 0, 2, 1]),
    "crowded": (9, [n % 7 for n in range(500)], [8 if n % 2 else n * n % 11 % 7 for n in range(500)]),
    "empty": (3, [], []),
    "nothing": (0, [], []),
}


def normal(*shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def convolution(channels, graph, dtype=torch.float64):
    """A layer, its edges, and x, y, hidden, matrix."""
    layer = Convolution(f"{channels}x0e+{channels}x1o", "0e+1o", "0e+1o").to(dtype)
    nodes, *edges = GRAPHS[graph]
    edges = torch.tensor(edges, dtype=torch.int64)
    shapes = ((nodes, layer.irreps_in.dim), (edges.shape[1], 4), (edges.shape[1], HIDDEN), (HIDDEN, layer.weight_numel))
    return layer, edges, normal(*shapes, dtype=dtype)


def derivatives(function, leaves, orders=2):
    """The value, and the gradients of half the sum of squares of each order's terms."""
    terms = [function(*leaves)]
    results = [*terms]
    for order in range(orders):
        value = sum((t**2).sum() for t in terms) / 2
        terms = torch.autograd.grad(value, leaves, create_graph=order < orders - 1)
        results += terms
    return results


def assert_same(actual, wanted):
    for ours, theirs in zip(actual, wanted, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        scale = max(1.0, float(theirs.detach().abs().max())) if theirs.numel() else 1.0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[ours.dtype] * scale)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("channels, graph", [(1, "ragged"), (3, "ragged"), (16, "crowded"), (100, "crowded")])
def test_equals_the_convolution_with_weights(channels, graph, dtype):
    layer, edges, leaves = convolution(channels, graph, dtype)
    fused = derivatives(lambda x, y, h, m: layer.forward_radial(x, y, h, m, edges), leaves)
    assert_same(fused, derivatives(lambda x, y, h, m: layer(x, y, h @ m, edges), leaves))


@pytest.mark.parametrize("graph", ["empty", "nothing"])
def test_no_edges(graph):
    layer, edges, leaves = convolution(3, graph)
    gradients = derivatives(lambda x, y, h, m: layer.forward_radial(x, y, h, m, edges), leaves)
    assert gradients[0].shape == (GRAPHS[graph][0], layer.irreps_out.dim) and not any(t.any() for t in gradients)


@pytest.mark.parametrize("wanted", range(4))
def test_one_operand_that_needs_gradients(wanted):
    layer, edges, leaves = convolution(3, "ragged")
    fixed = [t.detach() for t in leaves]

    def of_one(call):
        others = fixed[:wanted], fixed[wanted + 1 :]
        return derivatives(lambda t: call(*others[0], t, *others[1]), [leaves[wanted]])

    fused = of_one(lambda x, y, h, m: layer.forward_radial(x, y, h, m, edges))
    assert_same(fused, of_one(lambda x, y, h, m: layer(x, y, h @ m, edges)))


def paths_with_gaps():
    """Weights and numbers of z that no path has, paths that add to one place; with operands of three edges."""
    paths = [UVUPath(0, 1, 1, 2, 2, 3, 3, 3), UVUPath(0, 0, 4, 2, 2, 3, 1, 3)]
    plan, table = pack_paths(paths, [wigner_3j(1, n, 1).transpose(0, 1) for n in (1, 0)])
    constants = (torch.tensor([0, 2, 1]), torch.tensor([2, 0, 2]), table, plan, 9)
    return normal((3, 6), (3, 4), (3, HIDDEN), (HIDDEN, 7)), constants


def test_third_derivatives_and_weights_of_no_path():
    leaves, constants = paths_with_gaps()
    fused = derivatives(lambda *t: radial_convolution(*t, *constants), leaves, 3)
    wanted = derivatives(lambda x, y, h, m: uvu_convolution(x, y, h @ m, *constants), leaves, 3)
    assert not wanted[4][:, 0].any()  # the matrix's gradient there
    for ours, theirs in zip(fused, wanted, strict=True):
        testing.assert_close(ours, theirs, 1e-11)


@pytest.mark.parametrize("given", [(0, 1, 2, 3), (0,), (1, 2), (3,)], ids=str)
def test_compiled_operators_equal_plain_torch(given):
    """Some gradients that are needed, some tangents that are not zero."""
    leaves, constants = paths_with_gaps()
    operands, operators = [t.detach() for t in leaves], torch.ops.equitensor
    tangents = [t.cos() if n in given else None for n, t in enumerate(operands)]
    gradient, needs = torch.ones(3, 9, dtype=torch.float64).cumsum(1), [n in given for n in range(4)]
    with torch.no_grad():
        results = [operators.radial_convolution(*operands, *constants)]
        results += operators.radial_convolution_gradients(*operands, gradient, *needs, *constants)
        results += operators.radial_convolution_tangents(*operands, gradient, *tangents, *constants)
        wanted = [reference._values(*operands, *constants)]
        wanted += reference._gradients(*operands, gradient, *needs, *constants)
        wanted += reference._tangents(*operands, gradient, *tangents, *constants)
    assert_same(results, wanted)


def test_operators_pass_opcheck():
    (x, y, h, m), constants = paths_with_gaps()
    g = torch.ones(3, 9, dtype=torch.float64, requires_grad=True)
    arguments = {
        "radial_convolution": (),
        "radial_convolution_gradients": (g, True, True, True, False),
        "radial_convolution_tangents": (g, torch.ones_like(x), None, torch.ones_like(h), torch.ones_like(m)),
    }
    for name, more in arguments.items():
        torch.library.opcheck(getattr(torch.ops.equitensor, name).default, (x, y, h, m, *more, *constants))


def test_two_threads_give_what_one_gives():
    layer, edges, leaves = convolution(100, "crowded")
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            results.append(derivatives(lambda x, y, h, m: layer.forward_radial(x, y, h, m, edges), leaves))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(two, again) for two, again in zip(*results[1:], strict=True))
    assert_same(results[1], results[0])


def test_other_families_multiply():
    layer = Convolution("3x0e+3x1o", "0e+1o", "0e+1o", product="gaunt").double()
    edges = torch.tensor([[0, 1], [1, 0]])
    x, y, h, m = normal((2, 12), (2, 4), (2, HIDDEN), (HIDDEN, layer.weight_numel))
    testing.assert_close(layer.forward_radial(x, y, h, m, edges), layer(x, y, h @ m, edges))


def test_refusals():
    layer, edges, (x, y, h, m) = convolution(3, "ragged")
    with pytest.raises(InputError, match=r"hidden has shape \(7, 4\): expected \(7, 5\)"):
        layer.forward_radial(x, y, h[:, 1:], m, edges)
    with pytest.raises(InputError, match=r"matrix has shape \(5, 11\): expected \(5, 12\)"):
        layer.forward_radial(x, y, h, m[:, 1:], edges)
