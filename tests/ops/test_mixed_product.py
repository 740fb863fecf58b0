import pytest
import torch

from equitensor import testing
from equitensor.ops import mixed_product as module
from equitensor.ops.mixed_product import mixed_product


def operands(items=3, channels=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((channels, 2, items), (channels, 3, items), (channels, 2, 3, 4))
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def reference(x, y, mixed):
    return torch.einsum("cin,cjn,cijk->ckn", x, y, mixed)


@pytest.mark.parametrize("scratch", [1 << 18, 40, 1])
def test_equals_einsum(monkeypatch, scratch):
    """Whatever part of the channels fits into the buffer."""
    monkeypatch.setattr(module, "SCRATCH", scratch)
    testing.assert_same_map(mixed_product, reference, operands())
    testing.assert_same_map(mixed_product, reference, operands(dtype=torch.float32))


def test_twice_differentiable():
    testing.assert_twice_differentiable(mixed_product, operands(2, 2))


def test_empty():
    x, y, mixed = (t.requires_grad_() for t in operands(0))
    z = mixed_product(x, y, mixed)
    assert z.shape == (4, 4, 0)
    gradients = torch.autograd.grad(z.sum(), (x, y, mixed))
    assert gradients[2].shape == mixed.shape and not gradients[2].any()
