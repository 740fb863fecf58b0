"""The kernels of the uvu convolution against its plain torch: high degrees, many edges, any subset of what moves."""

import itertools

import pytest
import torch

from equitensor.o3 import wigner_3j
from equitensor.ops import uvu_convolution as reference
from equitensor.ops.uvu_paths import UVUPath, pack_paths

pytestmark = pytest.mark.usefixtures("compiled_operators")  # else plain torch would be compared with itself

TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-5}
DEGREES = [(0, 0, 0), (0, 2, 2), (1, 1, 1), (1, 4, 3), (2, 2, 1), (3, 3, 0), (3, 3, 6), (5, 3, 4)]  # of x, y, z
SUBSETS = [chosen for chosen in itertools.product((True, False), repeat=3) if any(chosen)]


def problem(channels, dtype, nodes=5, edges=90):
    """Operands, g, tangents and constants: 70 edges at one node, one node alone."""
    paths, place = [], {"w": 0, "z": 0}
    x_at = {l: channels * l * l for l in (0, 1, 2, 3, 5)}
    for l1, l2, l3 in DEGREES:
        sizes = 2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1
        paths.append(UVUPath(x_at[l1], l2 * l2, place["w"], place["z"], channels, *sizes))
        place["w"], place["z"] = place["w"] + channels, place["z"] + channels * sizes[2]
    plan, table = pack_paths(paths, [wigner_3j(*degrees).transpose(0, 1) for degrees in DEGREES])
    generator = torch.Generator().manual_seed(channels)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    shapes = ((nodes, 36 * channels), (edges, 25), (edges, place["w"]))
    sender = torch.randint(nodes, (edges,), generator=generator)
    receiver = torch.where(torch.arange(edges) < 70, 2, torch.randint(nodes - 1, (edges,), generator=generator))
    receiver = receiver[torch.randperm(edges, generator=generator)]
    operands, tangents = [normal(*shape) for shape in shapes], [normal(*shape) for shape in shapes]
    return operands, normal(nodes, place["z"]), tangents, (sender, receiver, table.to(dtype), plan, place["z"])


def assert_same(actual, wanted):
    for ours, theirs in zip(actual, wanted, strict=True):
        assert ours.shape == theirs.shape
        scale = float(theirs.abs().max()) if theirs.numel() else 1.0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[ours.dtype] * max(scale, 1.0))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("channels", [1, 19, 33])
def test_every_derivative_equals_plain_torch(channels, dtype):
    operands, g, tangents, constants = problem(channels, dtype)
    ours = torch.ops.equitensor
    assert_same([ours.uvu_convolution(*operands, *constants)], [reference._values(*operands, *constants)])
    for wanted in SUBSETS:
        arguments = (*operands, g, *wanted, *constants)
        assert_same(ours.uvu_convolution_gradients(*arguments), reference._gradients(*arguments))
        moving = [t if moves else None for t, moves in zip(tangents, wanted, strict=True)]
        arguments = (*operands, g, *moving, *constants)
        assert_same(ours.uvu_convolution_tangents(*arguments), reference._tangents(*arguments))


def test_gradients_larger_than_caches_are_the_same_to_the_bit():
    """They are written past the caches; those of half of the edges are not."""
    (x, y, w), g, (_, h_y, h_w), constants = problem(64, torch.float32, nodes=60, edges=9000)
    assert w.nbytes > 1 << 24 > w.nbytes / 2
    gradients, tangents = torch.ops.equitensor.uvu_convolution_gradients, torch.ops.equitensor.uvu_convolution_tangents
    parts = [slice(0, 4500), slice(4500, 9000)]

    def of_weights(e):
        here = (x, y[e], w[e], g)
        edges = (constants[0][e], constants[1][e], *constants[2:])
        return (
            gradients(*here, True, True, True, *edges)[2],
            gradients(*here, False, False, True, *edges)[2],
            tangents(*here, None, h_y[e], None, *edges)[3],
            tangents(*here, None, h_y[e], h_w[e], *edges)[3],
        )

    halves = [torch.cat(pair) for pair in zip(*map(of_weights, parts), strict=True)]
    for whole, joined in zip(of_weights(slice(None)), halves, strict=True):
        assert torch.equal(whole, joined)
