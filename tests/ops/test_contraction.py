import pytest
import torch

from equitensor import testing
from equitensor.ops.contraction import contract, transform


def matrices(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(7, d, generator=generator, dtype=dtype) for d in (3, 4, 2)]


def operands(*lead, dtype=torch.float64, channels=2):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(*lead, d, channels, generator=generator, dtype=dtype) for d in (3, 4)]


def reference(x, y, a, b, c):
    return torch.einsum("ri,rj,rk,...ic,...jc->...kc", a, b, c, x, y)


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_contract(lead, dtype):
    inputs = operands(*lead, dtype=dtype)
    tables = matrices(dtype)
    testing.assert_same_map(lambda x, y: contract(x, y, *tables), lambda x, y: reference(x, y, *tables), inputs)


def test_twice_differentiable():
    tables = matrices()
    testing.assert_twice_differentiable(lambda x, y: contract(x, y, *tables), operands(2))


@pytest.mark.parametrize("lead", [(0,), (2, 0)])
def test_empty(lead):
    assert contract(*operands(*lead), *matrices()).shape == (*lead, 2, 2)


def test_strided_operands():
    x = operands(5)[0]
    turned = x.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    testing.assert_close(transform(matrices()[0], turned), transform(matrices()[0], x))
