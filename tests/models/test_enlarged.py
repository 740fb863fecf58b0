"""Larger models that begin as smaller ones: the same predictions, and new weights that can learn."""

import pytest
import torch

from equitensor import models
from equitensor.errors import InputError

LARGER = {"channels": 10, "edge_channels": 9, "layers": 3}


@pytest.mark.parametrize(
    "settings", [{}, {"product": "cg", "repulsion": True}, {"product": "cp", "correlation": 2}, {"gathered": 12}]
)
def test_a_larger_model_begins_with_the_same_predictions(fresh_model, evaluate, alanine, settings):
    model = fresh_model(**settings)
    if model.repulsion is not None:
        model.repulsion.begins.uniform_(0.5, 1.0)
    larger = models.enlarged(model, LARGER, seed=1)
    assert LARGER.items() <= larger.settings.items() and larger.dtype == model.dtype
    before, after = evaluate(model.eval(), alanine), evaluate(larger.eval(), alanine)
    for name in ("energy", "forces"):
        torch.testing.assert_close(after[name], before[name])


def test_every_new_weight_learns_after_the_first_step(fresh_model, evaluate, alanine):
    larger = models.enlarged(fresh_model(), LARGER)
    weights = dict(larger.backbone.named_parameters())
    optimizer = torch.optim.SGD(weights.values(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        evaluate(larger.train(), alanine)["forces"].square().sum().backward()
        optimizer.step()
    still = [name for name, weight in weights.items() if bool((weight.grad == 0).any())]
    assert not still


def test_what_cannot_grow_is_refused(fresh_model):
    model = fresh_model()
    with pytest.raises(InputError, match=r"directional cannot grow by lmax; it can by channels, edge_channels, "):
        models.enlarged(model, {"lmax": 3})
    with pytest.raises(InputError, match=r"a model whose layers is 2 cannot grow to 1"):
        models.enlarged(model, {"layers": 1})
    with pytest.raises(InputError, match=r"it has no place for rounds\.1\."):
        model.backbone.begin_as(fresh_model(layers=3).backbone)
    with pytest.raises(InputError, match=r"weights of shape .* are no block of"):
        model.backbone.begin_as(fresh_model(channels=10).backbone)
    with pytest.raises(InputError, match=r"dimenet\+\+ cannot grow by layers; it can by nothing"):
        models.enlarged(models.build({"architecture": "dimenet++", "layers": 1}, [1], {1: 0.0}), {"layers": 2})
