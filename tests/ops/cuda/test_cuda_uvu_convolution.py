"""The CUDA kernels of the uvu convolution, run on the host, against the reference in plain torch."""

import pytest
import torch

from equitensor.nn import Convolution
from equitensor.ops import uvu_convolution as reference
from equitensor.ops.cuda import uvu_convolution as kernels
from equitensor.ops.cuda.source import Unsupported
from equitensor.ops.cuda.uvu_tables import WantedTerms, build_problem, tables
from equitensor.ops.uvu_paths import UVUPath

DOUBLE, SINGLE = torch.float64, torch.float32
TOLERANCE = {DOUBLE: 1e-12, SINGLE: 1e-5}
IRREPS = {
    1: ("1x0e+1x1o+1x2e", "0e+1o", "0e+1o+1e+2e"),
    3: ("3x0e+3x1o", "0e+1o+2e", "0e+1o"),
    16: ("16x0e+16x1o", "0e+1o", "0e+1o+2e"),
    100: ("100x0e+100x1o", "0e+1o", "0e+1o"),
    "several": ("130x0e+5x1o+2x1e", "0e+1o", "0e+1o+1e"),
}
# nodes, senders and receivers: ragged, unsorted, isolated nodes; one node that has all edges; none
GRAPHS = {
    "ragged": (7, ([1, 4, 0, 6, 1, 3, 4, 0, 5, 1, 2, 4, 0], [0, 3, 3, 1, 3, 0, 3, 6, 3, 3, 3, 3, 3])),
    "star": (3, ([0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 1, 2], [2] * 12)),
    "empty": (4, ([], [])),
}


def inputs(irreps, graph, dtype):
    conv, (nodes, edges) = Convolution(*IRREPS[irreps]).to(dtype), GRAPHS[graph]
    sender, receiver = torch.tensor(edges, dtype=torch.int64)
    torch.manual_seed(0)
    widths = conv.irreps_in.dim, conv.irreps_edge.dim, conv.weight_numel, conv.irreps_out.dim
    rows = (nodes, len(sender), len(sender), nodes)
    x, y, w, g = (torch.randn(n, width, dtype=dtype) for n, width in zip(rows, widths, strict=True))
    return (x, y, w, g), (sender, receiver, conv.map.coupling, conv.map.plan, widths[3])


def assert_same(actual, wanted):
    for ours, theirs in zip(actual, wanted, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        scale = max(1.0, float(theirs.abs().max())) if theirs.numel() else 1.0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[ours.dtype] * scale)


@pytest.mark.parametrize(
    "irreps, dtype", [(1, DOUBLE), (3, SINGLE), (16, DOUBLE), (100, SINGLE), ("several", DOUBLE)], ids=str
)
def test_all_orders(irreps, dtype, on_host):
    for graph in GRAPHS:
        (x, y, w, g), constants = inputs(irreps, graph, dtype)
        assert_same([kernels.values(x, y, w, *constants)], [reference._values(x, y, w, *constants)])
        all_needed, tangents = [True] * 3, [torch.randn_like(t) for t in (x, y, w)]
        for ours, theirs, more in (
            (kernels.gradients, reference._gradients, all_needed),
            (kernels.tangents, reference._tangents, tangents),
        ):
            assert_same(ours(x, y, w, g, *more, *constants), theirs(x, y, w, g, *more, *constants))


@pytest.mark.parametrize("only", range(2))
def test_one_operand(only, on_host):
    """One gradient that is needed; one tangent that is not zero; rows that are not contiguous."""
    (x, y, w, g), constants = inputs(1, "ragged", DOUBLE)
    x, y, w, g = (torch.cat([t, t], dim=1)[:, : t.shape[1]] for t in (x, y, w, g))
    needs = [n == only for n in range(3)]
    tangents = [torch.randn_like(t) if need else None for t, need in zip((x, y, w), needs, strict=True)]
    for ours, theirs, more in (
        (kernels.gradients, reference._gradients, needs),
        (kernels.tangents, reference._tangents, tangents),
    ):
        assert_same(ours(x, y, w, g, *more, *constants), theirs(x, y, w, g, *more, *constants))


def test_edges_are_read_again_when_they_change(on_host):
    (x, y, w, _), (sender, receiver, *constants) = inputs(1, "ragged", DOUBLE)
    kernels.values(x, y, w, sender, receiver, *constants)
    receiver.copy_(sender.flip(0))
    arguments = (x, y, w, sender, receiver, *constants)
    assert_same([kernels.values(*arguments)], [reference._values(*arguments)])
    with pytest.raises(RuntimeError, match="an edge joins an atom that is not among the 7"):
        kernels.values(x, y, w, sender, receiver + 7, *constants)


def test_blocks_that_overlap_are_left_to_the_reference():
    paths = [(UVUPath(0, 0, 0, z, 2, 1, 1, 1), torch.ones(1, 1)) for z in (0, 1)]
    with pytest.raises(Unsupported, match="overlap"):
        build_problem(paths, (2, 1, 4, 4), DOUBLE)


def test_high_degrees_are_cut_into_parts():
    """Sums that a thread can hold, matrices that a block can hold."""
    irreps = "+".join(f"64x{l}{'eo'[l % 2]}" for l in range(5))
    conv = Convolution(irreps, irreps.replace("64x", ""), irreps)
    paths = reference.unpack_paths(conv.map.plan, conv.map.coupling)
    widths = (conv.irreps_in.dim, conv.irreps_edge.dim, conv.weight_numel, conv.irreps_out.dim)
    _, shape = tables(build_problem(paths, widths, SINGLE), WantedTerms(moved_x=True, sums=True))
    assert shape.lanes == 64 and shape.tiles == 1 and shape.receiver_parts > 4
