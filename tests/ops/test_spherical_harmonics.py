"""Both evaluations, the recursion of o3 and the raising of ops, beside e3nn to degree 12."""

import pytest
import torch
from e3nn import o3 as e3nn_o3

from equitensor.errors import InputError
from equitensor.o3 import raising_tables
from equitensor.o3 import spherical_harmonics as from_recursion
from equitensor.ops.spherical_harmonics import spherical_harmonics as by_raising

LMAX = 12


def evaluate(route, vectors, normalization="component"):
    if route == "o3":
        return from_recursion(LMAX, vectors, normalization)
    return by_raising(vectors, [t.to(vectors.dtype) for t in raising_tables(LMAX, normalization)])


def directions():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    poles = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    return torch.cat([torch.nn.functional.normalize(vectors, dim=1), poles])


def e3nn_harmonics(vectors, normalization="component"):
    return e3nn_o3.spherical_harmonics(list(range(LMAX + 1)), vectors, False, normalization)


@pytest.mark.parametrize("route", ["o3", "ops"])
@pytest.mark.parametrize("normalization", ["component", "norm"])
def test_values_equal_e3nn(route, normalization):
    vectors = directions()
    expected = e3nn_harmonics(vectors, normalization)
    torch.testing.assert_close(evaluate(route, vectors, normalization), expected, rtol=0, atol=5e-14)
    longer = 1.3 * vectors  # homogeneous: r^l Y
    scale = torch.tensor([1.3**l for l in range(LMAX + 1) for _ in range(2 * l + 1)], dtype=torch.float64)
    torch.testing.assert_close(evaluate(route, longer, normalization), scale * expected, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("route", ["o3", "ops"])
def test_gradients_equal_e3nn(route):
    vectors = directions()
    tangent = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, ours = torch.func.jvp(lambda v: evaluate(route, v), (vectors,), (tangent,))
    # Harmonics of unnormalised vectors, so that e3nn's are polynomials too.
    _, theirs = torch.func.jvp(e3nn_harmonics, (vectors,), (tangent,))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12 * float(theirs.abs().max()))


@pytest.mark.parametrize("route", ["o3", "ops"])
def test_origin_and_poles_are_ordinary_points(route):
    vectors = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double().requires_grad_()
    value = evaluate(route, vectors)
    assert torch.equal(value[0, 1:], torch.zeros(value.shape[1] - 1).double())
    (first,) = torch.autograd.grad(value.square().sum(), vectors, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), vectors)
    assert bool(first.isfinite().all()) and bool(second.isfinite().all())
    # Near the origin Y_1 is linear: the gradient of Y_1y is (0, sqrt 3, 0) there.
    gradient = torch.autograd.grad(evaluate(route, vectors)[0, 2], vectors)[0][0]
    torch.testing.assert_close(gradient, torch.tensor([0, 3**0.5, 0]).double())


@pytest.mark.parametrize("route", ["o3", "ops"])
def test_float32(route):
    vectors = directions()
    error = evaluate(route, vectors.float()).double() - evaluate(route, vectors)
    assert float(error.abs().max()) < 2e-5


@pytest.mark.parametrize("route", ["o3", "ops"])
def test_second_derivatives_and_empty(route):
    vectors = torch.randn(2, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    low = (lambda v: from_recursion(3, v)) if route == "o3" else (lambda v: by_raising(v, raising_tables(3)))
    leaf = vectors.requires_grad_()
    assert torch.autograd.gradcheck(low, leaf) and torch.autograd.gradgradcheck(low, leaf)
    assert evaluate(route, torch.zeros(0, 3).double()).shape == (0, (LMAX + 1) ** 2)


def test_unknown_normalization():
    with pytest.raises(InputError, match="component, integral, norm"):
        from_recursion(2, torch.zeros(1, 3), "unit")
    with pytest.raises(InputError, match="Y_0 = 1"):
        raising_tables(2, "integral")
