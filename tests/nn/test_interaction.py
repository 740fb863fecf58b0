import copy

import pytest
import torch
from e3nn import o3 as e3nn_o3

from equitensor import testing
from equitensor.errors import InputError
from equitensor.nn.interaction import Interaction
from equitensor.nn.layout import to_channels_last, to_flat
from equitensor.o3 import as_irreps, gaunt

IN1 = "3x0e+3x1o+3x2e+3x1e"
IN2 = "3x0e+3x1o+3x2e+3x0o"
OUT = "3x0e+3x1o+3x2e+3x1e+3x0o"
BACKBONE = "4x0e+4x1o+4x2e+4x3o"


@pytest.fixture
def double():
    """float64 while e3nn builds its layers: it rounds its constants to the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def operands(items=5, irreps=(IN1, IN2), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(items, as_irreps(i).dim, generator=generator, dtype=dtype) for i in irreps]


def weights(layer, *lead, dtype=torch.float64):
    return torch.randn(*lead, layer.weight_numel, generator=torch.Generator().manual_seed(7), dtype=dtype)


def e3nn_product(layer, shared):
    names = (layer.irreps_in1, layer.irreps_in2, layer.irreps_out)
    return e3nn_o3.TensorProduct(
        *names, layer.instructions, shared_weights=shared, internal_weights=False, compile_right=False
    )


def gaunt_reference(layer, x, y, weight):
    """Contraction with Gaunt tensors, path by path."""
    spaces = (layer.irreps_in1, layer.irreps_in2, layer.irreps_out)
    w1, w2, w3 = weight.unflatten(-1, (-1, layer.channels)).split([len(s) for s in spaces], dim=-2)
    slots = [to_channels_last(t, s).split([ir.dim for _, ir in s], -2) for t, s in ((x, spaces[0]), (y, spaces[1]))]
    out = [0.0] * len(spaces[2])
    for (i, j, k, *_), (a, b, c) in zip(layer.instructions, layer.paths, strict=True):
        u, v = slots[0][i] * w1[..., i, None, :], slots[1][j] * w2[..., j, None, :]
        coupled = torch.einsum("...ic,...jc,ijk->...kc", u, v, gaunt(a[0], b[0], c[0]))
        out[k] = out[k] + w3[..., k, None, :] * coupled
    return to_flat(torch.cat(out, dim=-2), spaces[2])


NATURAL = ("3x0e+3x1o+3x2e+3x3o", "3x0e+3x1o+3x2e", "3x1o+3x0e+3x2e+3x3o+3x4e")


@pytest.mark.parametrize("form", [None, "paths", "low_rank", "dense"])
@pytest.mark.parametrize("irreps", [(IN1, IN2, OUT), NATURAL])
def test_cg_equals_e3nn(double, irreps, form):
    layer = Interaction(*irreps, form=form)
    assert f"form={form or 'paths'!r}" in repr(layer)
    theirs = e3nn_product(layer, shared=True)
    assert theirs.weight_numel == layer.weight_numel
    testing.assert_same_map(layer, theirs, [*operands(irreps=irreps[:2]), weights(layer)])


def test_cg_weights_per_item_equal_e3nn(double):
    layer = Interaction(IN1, IN2, OUT)
    testing.assert_same_map(layer, e3nn_product(layer, shared=False), [*operands(), weights(layer, 5)])


@pytest.mark.parametrize("lead", [(), (5,)])
def test_gaunt_equals_contraction_with_gaunt_tensors(lead):
    layer = Interaction(IN1, IN2, OUT, product="gaunt").double()
    inputs = [*operands(), weights(layer, *lead)]
    testing.assert_same_map(layer, lambda x, y, w: gaunt_reference(layer, x, y, w), inputs)


@pytest.mark.parametrize("product", ["cg", "gaunt"])
def test_unweighted_is_all_weights_one(product):
    plain = Interaction(BACKBONE, BACKBONE, BACKBONE, product=product, internal_weights=False).double()
    assert list(plain.parameters()) == []
    (x, y) = operands(irreps=(BACKBONE, BACKBONE))
    ones = torch.ones(plain.weight_numel, dtype=torch.float64)
    testing.assert_same_map(plain, lambda x, y: plain(x, y, ones), [x, y])
    testing.assert_same_map(lambda x: plain(x, x), lambda x: plain(x, x.clone(), ones), [x])


@pytest.mark.parametrize("product", ["cg", "gaunt"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equivariant(product, dtype):
    layer = Interaction(IN1, IN2, OUT, product=product).to(dtype)
    testing.assert_equivariant(layer, [IN1, IN2], OUT, dtype=dtype)
    high = "2x0e+2x1o+2x2e+2x3o+2x4e"
    testing.assert_equivariant(
        Interaction(high, high, high, product=product).to(dtype), [high, high], high, dtype=dtype
    )


@pytest.mark.parametrize("product", ["cg", "gaunt"])
@pytest.mark.parametrize("weighted", [True, False])
def test_powers(product, weighted):
    layer = Interaction(BACKBONE, BACKBONE, BACKBONE, product=product, internal_weights=weighted).double()
    (x,) = operands(irreps=(BACKBONE,))
    terms = layer.powers(x, 3)
    square = layer(x, x.clone())
    for term, expected in zip(terms, (x, square, layer(square, x)), strict=True):
        testing.assert_close(term, expected)
    testing.assert_equivariant(lambda x: layer.powers(x, 4)[-1], [BACKBONE], BACKBONE)
    with pytest.raises(InputError, match="same irreps"):
        Interaction(IN1, IN2, OUT, product=product).powers(x, 2)


@pytest.mark.parametrize("product", ["cg", "gaunt"])
def test_channels_last_is_the_same_map(product):
    flat = Interaction(IN1, IN2, OUT, product=product).double()
    last = Interaction(IN1, IN2, OUT, product=product, layout="channels_last").double()
    last.load_state_dict(flat.state_dict())
    x, y = operands()
    z = last(to_channels_last(x, flat.irreps_in1), to_channels_last(y, flat.irreps_in2))
    assert z.shape == (5, 13, 3)
    testing.assert_close(to_flat(z, flat.irreps_out), flat(x, y))


@pytest.mark.parametrize("product", ["cg", "gaunt"])
def test_derivatives_of_every_form(product):
    irreps = "2x0e+2x1o"
    layer = Interaction(irreps, irreps, irreps, product=product).double()
    x, y = operands(2, (irreps, irreps))
    testing.assert_twice_differentiable(layer, [x, y, weights(layer)])
    testing.assert_twice_differentiable(layer, [x, y, weights(layer, 2)])
    plain = Interaction(irreps, irreps, irreps, product=product, internal_weights=False).double()
    testing.assert_twice_differentiable(plain, [x, y])


@pytest.mark.parametrize("product", ["cg", "gaunt"])
def test_empty_batched_and_broadcast_operands(product):
    layer = Interaction(IN1, IN2, OUT, product=product)
    x, y = operands(6, dtype=torch.float32)
    assert layer(x[:0], y[:0]).shape == (0, layer.irreps_out.dim)
    assert layer(x[:0], y[:0], weights(layer, 0, dtype=torch.float32)).shape == (0, layer.irreps_out.dim)
    batched = layer(x.view(2, 3, -1), y.view(2, 3, -1))
    testing.assert_close(batched.view(6, -1), layer(x, y))
    testing.assert_close(layer(x[0], y), layer(x[:1].expand(6, -1), y))
    strided = layer(x.T.contiguous().T, y)
    testing.assert_close(strided, layer(x, y))


@pytest.mark.parametrize("product", ["cg", "gaunt"])
def test_initial_weights_keep_unit_variance(product):
    torch.manual_seed(0)
    wide = [i.replace("3x", "64x") for i in (IN1, IN2, OUT)]
    layer = Interaction(*wide, product=product)
    z = layer(*operands(400, wide[:2], torch.float32)).detach()
    for block in layer.irreps_out.slices():
        assert 0.6 < float(z[:, block].var()) < 1.6


@pytest.mark.parametrize("product", ["cg", "gaunt"])
def test_tables_keep_float64(product):
    """A layer that went through float32 is as good as a fresh one, and a copy is a copy."""
    layer = Interaction(IN1, IN2, OUT, product=product, internal_weights=False).double()
    x, y = operands()
    expected = layer(x, y)
    testing.assert_close(copy.deepcopy(layer).float().double()(x, y), expected)
    error = layer.float()(x.float(), y.float()).double() - expected
    assert float(error.abs().max()) < testing.TOLERANCES[torch.float32].exact * float(expected.abs().max())
    assert list(layer.state_dict()) == []


def test_attributes_and_repr():
    layer = Interaction("8x0e+8x1o", "8x0e+8x1o", "8x0e+8x1o", product="gaunt")
    assert layer.paths[0] == ((0, 1), (0, 1), (0, 1)) and len(layer.paths) == 4
    assert layer.instructions[1] == (1, 1, 0, "uuu", True)
    assert layer.weight_numel == 6 * 8
    assert "4 paths, 48 weights, 10 couplings (compiled) or 6 points" in repr(layer)
    cg = Interaction("8x0e+8x1o", "8x0e+8x1o", "8x0e+8x1o+8x1e")
    assert cg.weight_numel == len(cg.paths) * 8 == 40
    points = Interaction(BACKBONE, BACKBONE, BACKBONE, product="gaunt").map.form.a.shape[0]
    assert points == 32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("4x1o", "4x1o", "4x1e", "gaunt"), "1o x 1o -> 1e: .* is odd"),
        (("4x1o", "4x1o", "4x1o", "cg"), "parity"),
        (("4x1o", "3x1o", "4x1e", "cg"), "multiplicities differ"),
        (("4x0e+3x1o", "4x1o", "4x1e", "cg"), "irreps_in1 .* same multiplicity"),
        (("4x1o", "4x1o", "4x0e", "cg", "rows"), "layout is 'rows'"),
        (("4x1o", "", "4x0e", "cg"), "irreps_in2"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(InputError, match=message):
        Interaction(*arguments)


def test_wrong_shapes():
    layer = Interaction("4x1o", "4x1o", "4x0e")
    x = torch.zeros(2, 12)
    with pytest.raises(InputError, match=r"y has shape \(2, 11\): expected \(..., 12\)"):
        layer(x, x[:, :11])
    with pytest.raises(InputError, match="weight has 3 entries: expected 4"):
        layer(x, x, torch.zeros(3))
