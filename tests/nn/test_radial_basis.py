"""The prior of smooth radial functions, and that a model with another one is another model."""

import torch

from equitensor.models import build
from equitensor.nn.radial_basis import smoothness_prior


def test_the_prior_falls_with_the_order_and_keeps_the_size():
    torch.testing.assert_close(smoothness_prior(8, 0.0), torch.ones(8, 1))
    prior = smoothness_prior(8, 1.5).double().squeeze(1)
    torch.testing.assert_close(prior[0] / prior, torch.arange(1.0, 9.0, dtype=torch.float64) ** 1.5, rtol=1e-6, atol=0)
    assert abs(float(prior.square().mean()) - 1) < 1e-6


def test_it_reaches_every_radial_function_and_is_the_same_in_both_precisions():
    models = [build({"cutoff": 4.0, "smoothness": s}, [1], {1: 0.0}).double() for s in (0.0, 1.0)]
    priors = [dict(model.named_buffers()) for model in models]
    buffers = [name for name in priors[0] if name.endswith("prior")]
    assert len(buffers) == 4  # the first messages, their update, two densities
    for name in buffers:
        change = priors[1][name] / priors[0][name]
        torch.testing.assert_close(change, smoothness_prior(8, 1.0).double(), rtol=1e-6, atol=0)
        assert torch.equal(priors[1][name], priors[1][name].float().double())
