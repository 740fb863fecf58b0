import pytest
import torch

from equitensor import testing
from equitensor.ops import edge_accumulation
from equitensor.ops.edge_accumulation import accumulate

SENDER, RECEIVER = torch.tensor([0, 0, 2, 3, 3, 1, 2]), torch.tensor([1, 2, 0, 0, 2, 1, 0])


def operands(edges=7):
    """X (4, 2, 5, 3), F (e, 2, 5), w (e, 2, 3)."""
    shapes = ((4, 2, 5, 3), (edges, 2, 5), (edges, 2, 3))
    return [
        torch.randn(s, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n, s in enumerate(shapes)
    ]


def reference(x, filters, weight):
    messages = torch.einsum("esrc,elr,elc->esrc", x[SENDER], filters, weight)
    return torch.zeros_like(x).index_add(0, RECEIVER, messages)


@pytest.mark.parametrize("edges_at_once", [1, 3, 100])
def test_equals_einsum(monkeypatch, edges_at_once):
    monkeypatch.setattr(edge_accumulation, "SCRATCH", 30 * edges_at_once)
    testing.assert_same_map(lambda *t: accumulate(*t, SENDER, RECEIVER), reference, operands())


def test_twice_differentiable():
    small = [t[..., :2].contiguous() for t in operands(3)]
    filters = small[1].repeat_interleave(3, 2)[..., :5]
    inputs = [small[0], filters, small[2]]
    testing.assert_twice_differentiable(lambda *t: accumulate(*t, SENDER[:3], RECEIVER[:3]), inputs)


def test_no_edges():
    x, filters, weight = operands()
    x.requires_grad_()
    total = accumulate(x, filters[:0], weight[:0], SENDER[:0], RECEIVER[:0])
    assert not total.any() and not torch.autograd.grad(total.sum(), x)[0].any()
