import pytest
import torch

from equitensor import testing
from equitensor.errors import InputError
from equitensor.nn import Linear, to_channels_last, to_flat
from equitensor.o3 import as_irreps

as_irreps("0e")
from e3nn import o3  # noqa: E402  e3nn 0.4.4 cannot be imported before as_irreps has been called

IN, OUT = "3x0e+2x1o+0o+4x0e+2x2e", "2x0e+3x1o+1x0e+2x2e+2x0o+2x1o"
SAME_IN, SAME_OUT = "4x0e+4x1o+4x1e+4x2e", "3x0e+3x1o+3x2e+3x1e"


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("irreps", [(IN, OUT), ("5x1o", "2x1o"), ("2x0e+3x0e", "4x0e")])
@pytest.mark.parametrize("biases", [False, True])
def test_same_numbers_as_e3nn(irreps, biases):
    ours = Linear(*irreps, biases=biases).double()
    theirs = o3.Linear(*irreps, biases=biases).double()
    assert ours.weight.shape == theirs.weight.shape
    keys = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not keys.missing_keys
    if ours.bias is not None:
        with torch.no_grad():
            ours.bias.copy_(normal(ours.bias.numel()))
            theirs.bias.copy_(ours.bias)
    x = normal(5, ours.irreps_in.dim)
    testing.assert_close(ours(x), theirs(x))
    weight = normal(ours.weight_numel, seed=3)
    testing.assert_same_map(lambda x, w: ours(x, w), lambda x, w: theirs(x, w), [x, weight])
    for view, theirs_view in zip(ours.weight_views(), theirs.weight_views(), strict=False):
        assert torch.equal(view, theirs_view)


def test_weights_per_item():
    ours = Linear(IN, OUT, internal_weights=False)
    x, weight = normal(4, ours.irreps_in.dim), normal(4, ours.weight_numel, seed=1)
    assert not list(ours.parameters())
    testing.assert_close(ours(x, weight), torch.stack([ours(a, w) for a, w in zip(x, weight, strict=True)]))


def test_layouts_agree():
    flat = Linear(SAME_IN, SAME_OUT, biases=True).double()
    last = Linear(SAME_IN, SAME_OUT, biases=True, layout="channels_last").double()
    last.load_state_dict(flat.state_dict())
    x = normal(2, 3, flat.irreps_in.dim)
    testing.assert_close(to_flat(last(to_channels_last(x, SAME_IN)), SAME_OUT), flat(x))
    assert flat(x[:0]).shape == (0, 3, flat.irreps_out.dim)


def test_equivariant_and_its_broken_twins_are_not():
    layer = Linear(IN, OUT, biases=True).double()
    torch.nn.init.normal_(layer.bias)
    testing.assert_equivariant(layer, [IN], OUT)
    dense = torch.nn.Linear(layer.irreps_in.dim, layer.irreps_out.dim).double()
    vector_bias = normal(layer.irreps_out.dim)
    for twin in (dense, lambda x: layer(x) + vector_bias, lambda x: layer(x.flip(-1))):
        with pytest.raises(AssertionError, match="rotation"):
            testing.assert_equivariant(twin, [IN], OUT)
    mixes_parity = Linear("2x0e+2x1o", "2x0e+2x1o").double()
    with pytest.raises(AssertionError, match="inversion"):
        testing.assert_equivariant(mixes_parity, ["2x0e+2x1o"], "2x0e+2x1e")


def test_keeps_unit_variance_in_float32():
    torch.manual_seed(0)
    layer = Linear("64x0e+32x0e+64x1o", "64x0e+64x1o")
    z = layer(torch.randn(200, layer.irreps_in.dim)).detach()
    assert z.dtype == torch.float32 and 0.9 < float(z.square().mean()) < 1.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear("2x0e", "2x0e+1x1o"), "1o of irreps_out is not in irreps_in '2x0e'"),
        (lambda: Linear("2x0e", ""), "give at least one irrep"),
        (lambda: Linear("2x0e+3x1o", "2x0e", layout="channels_last"), "irreps_in is '2x0e"),
        (lambda: Linear("2x0e", "2x0e", layout="last"), "layout is 'last'"),
        (lambda: Linear("2x0f", "2x0e"), "not a list of irreps"),
        (lambda: Linear("2x1o", "2x1o")(torch.zeros(3, 5)), r"Linear: x has shape \(3, 5\), expected \(..., 6\)"),
        (lambda: Linear("2x1o", "2x1o")(torch.zeros(3, 6), torch.zeros(3)), r"weight has shape \(3,\), expected"),
        (lambda: Linear("2x1o", "2x1o")(torch.zeros(3, 6).double()), "x is torch.float64 .* weights are torch.float32"),
        (lambda: Linear("2x1o", "2x1o", internal_weights=False)(torch.zeros(3, 6)), "needs a weight"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InputError, match=message):
        make()
