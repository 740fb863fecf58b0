"""The CUDA kernels of sums and read-outs along edges, run on the host, against derivatives by autograd."""

import pytest
import torch

from equitensor.ops import edge_form_reference
from equitensor.ops.cuda import edge_form

CASES = {  # atoms, width, components, channels
    torch.float64: [(3, 4, 4, 3), (3, 3, 1, 1), (2, 3, 4, 100), (1, 2, 4, 130), (0, 2, 4, 3), (2, 0, 4, 3)],
    torch.float32: [(2, 9, 4, 16)],
}
MOVED = ["yes no no no", "no yes no no", "no yes no yes", "yes no yes no"]


def values(*shapes, dtype):
    torch.manual_seed(0)
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]


def form(harmonics, a, b, features, rev):
    """F in plain torch."""
    a, b = (t if rev is None else t[rev] for t in (a, b))
    p = (a * b).view(*harmonics.shape[:2], a.shape[1])
    return torch.einsum("njm,njc,nmc->", harmonics, p, features)


def derivatives(operands, rev, tangents):
    """The gradient of F, or of its derivative along a tangent."""
    first = torch.autograd.grad(form(*operands, rev), operands, create_graph=True)
    if tangents is None:
        return [t.detach() for t in first]
    value = sum((gradient * t).sum() for gradient, t in zip(first, tangents, strict=True) if t is not None)
    return torch.autograd.grad(value, operands, allow_unused=True, materialize_grads=True)


def assert_close(actual, wanted):
    for ours, theirs in zip(actual, wanted, strict=True):
        scale = max(1.0, float(theirs.abs().max())) if theirs.numel() else 1.0
        tolerance = {torch.float64: 1e-13, torch.float32: 1e-5}[ours.dtype] * scale
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", CASES, ids=str)
def test_all_orders(dtype, on_host):
    for atoms, width, components, channels in CASES[dtype]:
        shapes = ((atoms, width, components), *[(atoms * width, channels)] * 2, (atoms, components, channels))
        operands, tangents = (values(*shapes, dtype=dtype) for _ in range(2))
        harmonics, a, b, features = (t.detach() for t in operands)
        rev = torch.randperm(atoms * width)
        first, direct = derivatives(operands, rev, None), derivatives(operands, None, None)
        assert_close([edge_form.gather(harmonics, a, b)], direct[3:])
        assert_close([edge_form.read(harmonics, features, a, rev)], [first[2]])
        wanted = derivatives(operands, rev, tangents)
        for how in (edge_form, edge_form_reference):
            assert_close(how.first(harmonics, a, b, features, rev, [True] * 4), first)
            assert_close(how.second(harmonics, a, b, features, rev, *tangents, [True] * 4), wanted)


@pytest.mark.parametrize("moved", MOVED)
def test_some_tangents(moved, on_host):
    """Others are zero; some gradients are not wanted."""
    moved = [answer == "yes" for answer in moved.split()]
    operands, tangents = (values((2, 3, 4), (6, 3), (6, 3), (2, 4, 3), dtype=torch.float64) for _ in range(2))
    tangents = [t if there else None for t, there in zip(tangents, moved, strict=True)]
    wanted = [not there for there in moved]
    theirs = derivatives(operands, None, tangents)
    for how in (edge_form, edge_form_reference):
        gradients = how.second(*(t.detach() for t in operands), None, *tangents, wanted)
        assert_close(gradients, [t if want else t.new_empty(0) for t, want in zip(theirs, wanted, strict=True)])
