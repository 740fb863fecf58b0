import pytest
import torch

from equitensor import testing
from equitensor.errors import InputError
from equitensor.nn import LayerNorm, Norm, to_channels_last, to_flat
from equitensor.o3 import as_irreps

as_irreps("0e")
from e3nn import o3  # noqa: E402  e3nn 0.4.4 cannot be imported before as_irreps has been called

IRREPS, COMMON = "3x0e+2x1o+2x0o+2x2e", "3x0e+3x1o+3x0o+3x2e"


@pytest.fixture
def double():
    """float64 while e3nn builds its layers: it rounds its constants to the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_norm(irreps, **options):
    layer = LayerNorm(irreps, **options).double()
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data = normal(*parameter.shape, seed=seed)
    return layer


@pytest.mark.parametrize("squared", [False, True])
def test_norm_is_e3nns(squared, double):
    ours, theirs = Norm(IRREPS, squared), o3.Norm(IRREPS, squared)
    assert ours.irreps_out == theirs.irreps_out
    testing.assert_same_map(ours, theirs, [normal(5, ours.irreps_in.dim)])


def test_norm_has_two_derivatives_at_zero():
    x = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(Norm("1x1o")(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert not first.any() and not second.any()


@pytest.mark.parametrize("make", [Norm, layer_norm])
def test_equivariant_in_both_layouts(make):
    flat, last = make(COMMON), make(COMMON, layout="channels_last")
    testing.assert_equivariant(flat, [COMMON], flat.irreps_out)
    testing.assert_equivariant(make(IRREPS), [IRREPS], make(IRREPS).irreps_out)
    x = normal(2, 4, flat.irreps_in.dim)
    testing.assert_close(to_flat(last(to_channels_last(x, COMMON)), last.irreps_out), flat(x))
    assert flat(x[:0]).shape[0] == 0


@pytest.mark.parametrize("make", [Norm, layer_norm])
def test_twice_differentiable(make):
    layer = make("2x0e+2x1o")
    testing.assert_twice_differentiable(layer, [normal(2, 8)])


def test_broken_twins_are_not_equivariant():
    width = as_irreps(IRREPS).dim
    plain = torch.nn.LayerNorm(width).double()
    layer = layer_norm(IRREPS)
    for twin in (plain, lambda x: layer(x) + 1, lambda x: layer(x) / x.abs().amax(-1, keepdim=True)):
        with pytest.raises(AssertionError, match="rotation"):
            testing.assert_equivariant(twin, [IRREPS], IRREPS)
    with pytest.raises(AssertionError, match="inversion"):
        testing.assert_equivariant(
            lambda x: layer(x) + x.new_tensor([0.0] * 9 + [1.0] * 2 + [0.0] * 10), [IRREPS], IRREPS
        )


def test_layer_norm_brings_each_degree_to_unit_size():
    layer = LayerNorm("8x0e+8x1o", affine=False)
    x = 1e3 * normal(3, 32) + 7
    assert not list(layer.parameters())
    z = layer(x)
    torch.testing.assert_close(z[:, :8].square().mean(-1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(z[:, 8:].square().mean(-1), torch.ones(3, dtype=torch.float64))
    assert float(z[:, :8].mean(-1).abs().max()) < 1e-9
    testing.assert_close(layer(x[:1]), z[:1])


def test_scalars_alone_are_torchs_layer_norm():
    x = normal(4, 6)
    testing.assert_close(LayerNorm("6x0e").double()(x), torch.nn.LayerNorm(6).double()(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Norm(""), "Norm: the irreps are '': give at least one"),
        (lambda: LayerNorm("2x0e", eps=0.0), "eps is 0.0"),
        (lambda: LayerNorm("2x0e+1x1o", layout="channels_last"), "same multiplicity"),
        (lambda: Norm("2x1o")(torch.zeros(5)), r"Norm: x has shape \(5,\), expected \(..., 6\)"),
        (lambda: LayerNorm("2x1o")(torch.zeros(2, 6).double()), "x is torch.float64 .* weights are torch.float32"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
