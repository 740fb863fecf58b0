"""A gradient much longer than those before is shortened, and others are left as they are."""

import pytest
import torch

from equitensor.training.gradient_limit import GradientLimit


def gradients(length):
    """Two parts of one gradient of this length."""
    return [torch.tensor([[0.6 * length]]), torch.tensor([0.0, 0.8 * length])]


def length(parts):
    return float(torch.cat([part.flatten() for part in parts]).norm())


def test_only_what_is_ten_times_as_long_as_the_average_is_shortened():
    limit = GradientLimit()
    for own in (3.0, 5.0, 4.0, 39.0):  # 4 on average, when the last comes
        parts = gradients(own)
        assert limit.apply(parts)
        assert length(parts) == pytest.approx(own)
    parts = gradients(1e15)
    assert limit.apply(parts)
    assert length(parts) == pytest.approx(10 * (3 + 5 + 4 + 39) / 4)
    assert float(parts[0] / parts[1][1]) == pytest.approx(0.75)  # the same direction


def test_the_average_is_of_what_was_applied_and_of_the_last_steps():
    limit = GradientLimit()
    for own in [1.0] * 50 + [1e30]:
        assert limit.apply(gradients(own)) == (own < 1e19)  # squares beyond float32
    assert limit.average == pytest.approx(1.0)
    for _ in range(1000):
        limit.apply(gradients(7.0))
    assert limit.average == pytest.approx(7.0, rel=1e-3)
    other = GradientLimit()
    other.restore(limit.state())
    assert vars(other) == vars(limit)


def test_zeros_set_no_limit():
    limit = GradientLimit()
    assert limit.apply([])
    limit.apply(gradients(0.0))
    parts = gradients(2.0)
    assert limit.apply(parts) and length(parts) == pytest.approx(2.0)
