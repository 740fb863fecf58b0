"""Our Linear in the place of e3nn's: values, derivatives, views, state dict, errors, deployment."""

import copy
import pickle

import pytest
import torch

from equitensor.interfaces import e3nn as ours
from equitensor.o3 import as_irreps

as_irreps("0e")
from e3nn import o3  # noqa: E402  e3nn 0.4.4 cannot be imported before as_irreps has been called
from e3nn.util import jit  # noqa: E402

IN, OUT = "4x0e+3x1o+2x0e+1x2e+2x1e", "3x0e+2x1o+2x2e+1x3o+2x0e"
CASES = [
    {},
    {"biases": True},
    {"path_normalization": "path"},
    {"biases": [True, False, False, False, False], "instructions": [(0, 0), (2, 4), (1, 1), (2, 0)]},
    {"shared_weights": False},
    {"f_in": 3, "f_out": 2, "biases": True},
]


pytestmark = pytest.mark.usefixtures("e3nn_in_float64")


def both(**options):
    theirs, mine = o3.Linear(IN, OUT, **options), ours.Linear(IN, OUT, **options)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    mine.load_state_dict(theirs.state_dict())
    return theirs, mine


def arguments(layer, features):
    lead = (5, features) if features else (5,)
    x = torch.randn(*lead, layer.irreps_in.dim)
    return [x] if layer.internal_weights else [x, torch.randn(5, layer.weight_numel)]


def derivatives(layer, args):
    args = [a.detach().requires_grad_() for a in args]
    leaves = [*args, *layer.parameters()]
    z = layer(*args)
    first = torch.autograd.grad((z**3).sum(), leaves, create_graph=True)
    return [z, *first, *torch.autograd.grad(sum((g**2).sum() for g in first), leaves)]


@pytest.mark.parametrize("options", CASES)
def test_values_derivatives_and_attributes(options):
    theirs, mine = both(**options)
    args = arguments(theirs, options.get("f_in"))
    for a, b in zip(derivatives(mine, args), derivatives(theirs, args), strict=True):
        assert a.shape == b.shape and (a - b).abs().max() <= 1e-11 * b.abs().max()
    assert [tuple(i) for i in mine.instructions] == [tuple(i) for i in theirs.instructions]
    assert repr(mine) == repr(theirs) and torch.equal(mine.output_mask, theirs.output_mask)
    assert (mine.weight_numel, mine.bias_numel) == (theirs.weight_numel, theirs.bias_numel)
    theirs.load_state_dict(mine.state_dict())
    if mine.internal_weights and "biases" not in options:
        for a, b in zip(mine.weight_views(), theirs.weight_views(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("options", CASES)
def test_deployment(options):
    mine = both(**options)[1]
    args = arguments(mine, options.get("f_in"))
    expected = mine(*args)
    compiled = torch.compile(mine, fullgraph=True, backend="aot_eager")
    copies = (jit.script(copy.deepcopy(mine)), pickle.loads(pickle.dumps(mine)), compiled)
    for other in (*copies, torch.export.export(mine, tuple(args)).module()):
        assert (other(*args) - expected).abs().max() <= 1e-13 * expected.abs().max()


def test_errors():
    mine = ours.Linear(IN, OUT)
    with pytest.raises(AssertionError, match=r"Linear: features have last dimension 3, expected 26"):
        mine(torch.randn(2, 3))
    with pytest.raises(RuntimeError, match=r"Linear: features is torch\.float32"):
        mine(torch.randn(2, mine.irreps_in.dim, dtype=torch.float32))
    with pytest.raises(AssertionError, match="weight has last dimension 2"):
        mine(torch.randn(2, mine.irreps_in.dim), torch.randn(2))
    with pytest.raises(ValueError, match="same irrep"):
        ours.Linear(IN, OUT, instructions=[(0, 1)])
    with pytest.raises(IndexError, match="valid index"):
        ours.Linear(IN, OUT, instructions=[(9, 1)])
    with pytest.raises(AssertionError, match="only scalars"):
        ours.Linear(IN, OUT, biases=[False, True, False, False, False])
