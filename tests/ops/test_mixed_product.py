import pytest
import torch

from equitensor import testing
from equitensor.ops import mixed_product as module
from equitensor.ops.mixed_product import mixed_product


def operands(items=3, channels=4, tensors=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((items, 2, channels), (items, 3, channels), (tensors, 2, 3, 4))
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def reference(x, y, mixed):
    return torch.einsum("nic,njc,cijk->nkc", x, y, mixed.expand(x.shape[2], -1, -1, -1))


@pytest.mark.parametrize("tensors", [4, 1])
@pytest.mark.parametrize("scratch", [1 << 18, 40, 1])
def test_equals_einsum(monkeypatch, tensors, scratch):
    """Whatever part of the channels fits into the buffer."""
    monkeypatch.setattr(module, "SCRATCH", scratch)
    testing.assert_same_map(mixed_product, reference, operands(tensors=tensors))
    testing.assert_same_map(mixed_product, reference, operands(tensors=tensors, dtype=torch.float32))


@pytest.mark.parametrize("tensors", [2, 1])
def test_twice_differentiable(tensors):
    testing.assert_twice_differentiable(mixed_product, operands(2, 2, tensors))


@pytest.mark.parametrize("tensors", [4, 1])
def test_empty(tensors):
    x, y, mixed = (t.requires_grad_() for t in operands(0, tensors=tensors))
    z = mixed_product(x, y, mixed)
    assert z.shape == (0, 4, 4)
    gradients = torch.autograd.grad(z.sum(), (x, y, mixed))
    assert gradients[2].shape == mixed.shape and not gradients[2].any()
