import math
import sys

import numpy as np
import pytest
import torch

from equitensor.errors import InputError
from equitensor.o3 import half_quadrature, quadrature, spherical_harmonics
from equitensor.o3.quadrature import moment_error

SIZES = {0: 1, 1: 6, 2: 6, 3: 6, 5: 12, 6: 18, 7: 32, 9: 32, 10: 60, 12: 60, 13: 98, 18: 190, 24: 325}


@pytest.mark.parametrize(("degree", "count"), SIZES.items())
def test_exact_to_its_degree(degree, count):
    points, weights = quadrature(degree)
    assert points.shape == (count, 3) and points.dtype == weights.dtype == torch.float64
    assert bool((weights > 0).all())
    assert abs(float(weights.sum()) - 4 * math.pi) < 1e-13
    assert float((points.norm(dim=1) - 1).abs().max()) < 1e-14
    assert moment_error(points, weights, degree) < 2e-14


@pytest.mark.parametrize("degree", [3, 5, 6, 9, 12, 13])
def test_no_more_than_promised(degree):
    """The moment check can fail: one degree further it does."""
    assert moment_error(*quadrature(degree), degree + 1) > 1e-3


@pytest.mark.parametrize(("degree", "count"), [(2, 3), (3, 3), (4, 6), (6, 16), (8, 16), (10, 36), (12, 49)])
def test_half_a_grid_is_exact_for_even_degrees(degree, count):
    points, weights = half_quadrature(degree)
    assert len(points) == count
    moments = weights @ spherical_harmonics(degree, points)
    even = torch.tensor([l % 2 == 0 for l in range(degree + 1) for _ in range(2 * l + 1)])
    moments[0] -= math.sqrt(4 * math.pi)
    assert float(moments[even].abs().max()) < 2e-14


def test_monomials():
    """Without spherical harmonics: the integral of x^2a y^2b z^2c is 4 pi (2a-1)!! (2b-1)!! (2c-1)!! / (n+1)!!."""

    def odd_product(n):
        return math.prod(range(n, 0, -2))

    for degree in (6, 9, 12, 20):
        points, weights = quadrature(degree)
        for a, b, c in [(0, 0, 0), (1, 1, 1), (2, 1, 0), (0, 0, 3), (3, 2, 1), (0, 4, 2), (5, 5, 0)]:
            if 2 * (a + b + c) <= degree:
                value = float(weights @ (points ** torch.tensor([2 * a, 2 * b, 2 * c])).prod(1))
                top = odd_product(2 * a - 1) * odd_product(2 * b - 1) * odd_product(2 * c - 1)
                assert value == pytest.approx(4 * math.pi * top / odd_product(2 * (a + b + c) + 1), rel=1e-13)


def test_callers_cannot_spoil_the_tables():
    quadrature(6)[0].zero_()
    assert float(quadrature(6)[0].norm()) > 1


def test_refuses_negative_degree():
    with pytest.raises(InputError, match="degree is -1"):
        quadrature(-1)


def test_damaged_file_is_refused(tmp_path, monkeypatch):
    module = sys.modules["equitensor.o3.quadrature"]  # the package has a function of that name
    points, weights = quadrature(6)
    points[0, 0] += 1e-9
    np.savez(tmp_path / "nodes.npz", degree6_points=points.numpy(), degree6_weights=weights.numpy())
    monkeypatch.setattr(module, "NODES_FILE", tmp_path / "nodes.npz")
    with pytest.raises(InputError, match="damaged"):
        module._stored(6)
