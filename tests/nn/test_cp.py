import copy

import pytest
import torch

from equitensor import testing
from equitensor.errors import InputError
from equitensor.nn.convolution import Convolution
from equitensor.nn.interaction import Interaction
from equitensor.nn.layout import to_channels_last, to_flat
from equitensor.o3 import as_irreps, fit_cp, random_rotation, representation, wigner_3j

IN1 = "3x0e+3x1o+3x2e+3x1e"
IN2 = "3x0e+3x1o+3x2e+3x0o"
OUT = "3x0e+3x1o+3x2e+3x1e+3x0o"
MIXED = (IN1, IN2, OUT)
EVEN = ("3x0e+3x1e+3x2e",) * 3  # one parity: one evaluation, as TDN labels everything
NATURAL = ("3x0e+3x1o+3x2e+3x3o",) * 3
SIGNALS = {lmax: "+".join(f"2x{l}{p}" for l in range(lmax + 1) for p in "eo") for lmax in (1, 2, 3)}
EDGES = torch.tensor([[0, 0, 2, 4, 4, 4, 1], [1, 2, 0, 0, 0, 2, 1]])
OPTIONS = ({}, {"rank": 28}, {"tolerance": 1e-9})


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def operands(layer, items=5, dtype=torch.float64):
    spaces = (layer.irreps_in1, layer.irreps_in2)
    return [normal(items, space.dim, seed=seed, dtype=dtype) for seed, space in enumerate(spaces)]


def interaction(irreps=MIXED, **options):
    return Interaction(*irreps, product="cp", **options).double()


def reference(layer, x, y, weight):
    """Path by path: z = w sum c_p W^p x y."""
    spaces = (layer.irreps_in1, layer.irreps_in2, layer.irreps_out)
    x, y = (to_channels_last(t, s).split([ir.dim for _, ir in s], -2) for t, s in zip((x, y), spaces[:2], strict=True))
    out = [0.0] * len(spaces[2])
    for c, (i, j, k, *_), irs in zip(layer.map.path_weights, layer.instructions, layer.paths, strict=True):
        coupling = c * wigner_3j(*(ir[0] for ir in irs))
        out[k] = out[k] + weight[..., None, :] * torch.einsum("...ic,...jc,ijk->...kc", x[i], y[j], coupling)
    return to_flat(torch.cat(out, dim=-2), spaces[2])


@pytest.mark.parametrize("irreps", [MIXED, EVEN, NATURAL])
@pytest.mark.parametrize("lead", [(), (5,)])
def test_default_is_all_paths_with_one_weight(irreps, lead):
    layer = interaction(irreps)
    assert layer.weight_numel == 3 and layer.weight.shape == (3,)
    inputs = [*operands(layer), normal(*lead, 3, seed=7)]
    testing.assert_same_map(layer, lambda x, y, w: reference(layer, x, y, w), inputs)


def test_exact_rank_is_the_sum_of_wigner_3j():
    layer = interaction(tolerance=1e-9)
    assert torch.equal(layer.map.path_weights, torch.ones(len(layer.paths), dtype=torch.float64))
    inputs = [*operands(layer), normal(3, seed=7)]
    testing.assert_same_map(layer, lambda x, y, w: reference(layer, x, y, w), inputs)


def test_published_rank_is_off_by_its_coupling_error():
    layer = interaction(EVEN, rank=28)
    x, y = operands(layer, 2000)
    expected = reference(layer, x, y, torch.ones(3, dtype=torch.float64))
    off = float((layer(x, y, torch.ones(3, dtype=torch.float64)) - expected).norm() / expected.norm())
    assert off == pytest.approx(layer.map.coupling_error, rel=0.1)
    assert 5e-3 < layer.map.coupling_error < 2e-2


@pytest.mark.parametrize("irreps", [MIXED, EVEN, NATURAL, *((SIGNALS[lmax],) * 3 for lmax in (1, 2, 3))])
def test_default_is_equivariant(irreps):
    testing.assert_equivariant(interaction(irreps), list(irreps[:2]), irreps[2])


@pytest.mark.parametrize("options", OPTIONS)
def test_inversion_is_exact_for_all_factors(options):
    layer = interaction(**options)
    x, y = operands(layer)
    inverse = [representation(as_irreps(i), -torch.eye(3)) for i in MIXED]
    testing.assert_close(layer(x @ inverse[0], y @ inverse[1]), layer(x, y) @ inverse[2])


@pytest.mark.parametrize("irreps", [(SIGNALS[2],) * 3, NATURAL])
def test_float32(irreps):
    layer = interaction(irreps)
    x, y = operands(layer)
    expected = layer(x, y)
    testing.assert_close(copy.deepcopy(layer).float().double()(x, y), expected)
    testing.assert_close(
        layer.float()(x.float(), y.float()).double(), expected, testing.TOLERANCES[torch.float32].exact
    )


@pytest.mark.parametrize("options", OPTIONS)
def test_layouts_powers_and_missing_weights(options):
    layer = interaction((IN1,) * 3, **options)
    last = Interaction(*(IN1,) * 3, product="cp", layout="channels_last", **options).double()
    last.load_state_dict(layer.state_dict())
    x, y = operands(layer)
    testing.assert_close(
        to_flat(last(*(to_channels_last(t, layer.irreps_in1) for t in (x, y))), layer.irreps_in1), layer(x, y)
    )
    square = layer(x, x)
    for term, expected in zip(layer.powers(x, 3), (x, square, layer(square, x)), strict=True):
        testing.assert_close(term, expected)
    plain = interaction((IN1,) * 3, internal_weights=False, **options)
    testing.assert_close(plain(x, y), plain(x, y, torch.ones(3, dtype=torch.float64)))
    assert list(plain.state_dict()) == []


def test_same_operands_share_a_transform_only_on_the_grid():
    assert interaction(NATURAL).map.same_factors and not interaction(EVEN).map.same_factors
    for irreps in (NATURAL, EVEN):
        layer = interaction(irreps)
        (x, _) = operands(layer)
        testing.assert_close(layer(x, x), layer(x, x.clone()))


def test_initial_weight_keeps_unit_variance():
    for irreps in (MIXED, EVEN, NATURAL):
        layer = Interaction(*(i.replace("3x", "64x") for i in irreps), product="cp")
        z = to_channels_last(layer(*operands(layer, 300, torch.float32)).detach(), layer.irreps_out)
        assert 0.9 < float(z.square().mean()) < 1.1


@pytest.mark.parametrize("irreps", [("2x0e+2x1o",) * 3, ("2x0e+2x1e",) * 3])
def test_twice_differentiable(irreps):
    layer = interaction(irreps)
    x, y = operands(layer, 2)
    for lead in ((), (2,)):
        testing.assert_twice_differentiable(layer, [x, y, normal(*lead, 2, seed=7)])
    conv = Convolution(irreps[0], irreps[0].replace("2x", ""), irreps[2], product="cp").double()
    edges = torch.tensor([[0, 1, 1], [1, 0, 0]])
    testing.assert_twice_differentiable(lambda *t: conv(*t, edges), edge_inputs(conv, 2, edges))


def test_empty_batched_and_broadcast_operands():
    layer = interaction()
    x, y = operands(layer, 6)
    assert layer(x[:0], y[:0]).shape == (0, layer.irreps_out.dim)
    testing.assert_close(layer(x.view(2, 3, -1), y.view(2, 3, -1)).view(6, -1), layer(x, y))
    testing.assert_close(layer(x[0], y), layer(x[:1].expand(6, -1), y))
    testing.assert_close(layer(x.T.contiguous().T, y), layer(x, y))


@pytest.mark.parametrize("irreps", [("3x0e",) * 3, ("3x0e+3x0e+3x1o",) * 3, ("3x1o", "3x2e", "3x3o+3x1o+3x2o")])
def test_unusual_irreps(irreps):
    """Scalars alone, one irrep twice, an output above its operands."""
    layer = interaction(irreps)
    inputs = [*operands(layer), normal(3, seed=7)]
    testing.assert_same_map(layer, lambda x, y, w: reference(layer, x, y, w), inputs)
    assert layer.map.coupling_error < 1e-14


def test_high_degree_is_a_grid_that_says_it_is_exact():
    irreps = "+".join(f"1x{l}{p}" for l in range(6) for p in "eo")
    layer = interaction((irreps,) * 3)
    assert "exact by quadrature" in repr(layer)
    testing.assert_equivariant(layer, [irreps, irreps], irreps, items=2)


def edge_inputs(layer, nodes=5, edges=EDGES):
    widths = (layer.irreps_in.dim, layer.irreps_edge.dim, layer.weight_numel)
    return [normal(n, w, seed=w) for n, w in zip((nodes, edges.shape[1], edges.shape[1]), widths, strict=True)]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("irreps", [("3x0e+3x1o+3x2e", "0e+1o+2e", "0e+1o+2e+1e"), (IN1, "0e+1o+2e", "0e+1o+1e+2e")])
def test_convolution_equals_messages_of_interactions(irreps, options):
    layer = Convolution(*irreps, product="cp", **options).double()
    assert layer.weight_numel == 3 and list(layer.parameters()) == []
    edge_irreps = as_irreps([(3, ir) for _, ir in layer.irreps_edge])
    product = interaction((layer.irreps_in, edge_irreps, layer.irreps_out), **options)

    def messages(x, edge_attr, weight):
        spread = to_flat(edge_attr.unsqueeze(2).expand(-1, -1, 3), edge_irreps)
        terms = product(x[EDGES[0]], spread, weight)
        return terms.new_zeros(len(x), terms.shape[1]).index_add(0, EDGES[1], terms)

    testing.assert_same_map(lambda *t: layer(*t, EDGES), messages, edge_inputs(layer))


@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_convolution_is_equivariant(lmax):
    harmonics = "+".join(f"{l}{'eo'[l % 2]}" for l in range(lmax + 1))
    layer = Convolution(SIGNALS[lmax], harmonics, SIGNALS[lmax], product="cp").double()
    x, edge_attr, weight = edge_inputs(layer)
    out = layer(x, edge_attr, weight, EDGES)
    assert not out[3:].any()  # nothing arrives there
    for inversion in (False, True):
        rotation = random_rotation(torch.Generator().manual_seed(2), inversion)
        turn = [representation(i, rotation).T for i in (layer.irreps_in, layer.irreps_edge, layer.irreps_out)]
        testing.assert_close(layer(x @ turn[0], edge_attr @ turn[1], weight, EDGES), out @ turn[2])
    nothing = layer(x, edge_attr[:0], weight[:0], EDGES[:, :0])
    assert nothing.shape == out.shape and not nothing.any()


def test_factors_of_a_fit():
    own = fit_cp(("1o", "1o", "1e"), 5)
    layer = interaction(("3x1o", "3x1o", "3x1e"), factors=own)
    x, y = operands(layer)
    testing.assert_close(layer(x, y, normal(3)), reference(layer, x, y, normal(3)))
    general = interaction(("3x0e+3x1o",) * 3, factors=fit_cp(1, 8))
    testing.assert_equivariant(general, ["3x0e+3x1o"] * 2, "3x0e+3x1o")
    with pytest.raises(InputError, match="the factors are for 1x1o x 1x1o -> 1x1e, the layer is"):
        interaction(("3x1o", "3x1o", "3x0e"), factors=own)


def test_repr_says_rank_weights_and_errors():
    text = repr(Interaction("8x0e+8x1e+8x2e", "8x0e+8x1e+8x2e", "8x0e+8x1e+8x2e", product="cp", rank=28))
    assert "15 paths, 8 weights, rank 28, coupling error 1." in text and "equivariance error 1." in text
    text = repr(Interaction(*MIXED, product="cp"))
    assert "3 weights, rank 48 (2 x rank 24), coupling error 1." in text and "e-15, equivariance error" in text
    text = repr(Convolution("4x0e+4x1o+4x2e+4x3o", "0e+1o+2e+3o", "0e+1o+2e+3o", product="cp"))
    assert "4 weights per edge, rank 32 (grid of 32 rows), coupling error" in text


@pytest.mark.parametrize(
    ("irreps", "options", "message"),
    [
        (("4x1o", "4x1o", "4x1o"), {}, "1o x 1o -> 1o: the parity"),
        (("4x1o", "4x1o", "4x3e"), {}, "degree must lie between 0 and 2"),
        (("4x1o", "4x1o", "4x1e"), {"rank": 12}, "rank 12 at lmax 1 .*shipped ranks: 7, 8"),
        (("4x4e", "4x4e", "4x0e"), {"tolerance": 0.1}, "lmax 4 .*fit_cp"),
        (("4x1o", "4x1o", "4x1e"), {"rank": 7, "tolerance": 0.1}, "one of them"),
        (("4x1o", "4x1o", "4x1e"), {"tolerance": -1.0}, "tolerance is -1.0"),
        (("4x1o", "4x1o", "4x1e"), {"factors": 7}, "factors is a int"),
        (("4x1o", "4x1o", "4x1e"), {"forms": 1}, "no option 'forms': its options are rank, tolerance, factors"),
    ],
)
def test_refusals(irreps, options, message):
    with pytest.raises(InputError, match=message):
        Interaction(*irreps, product="cp", **options)
    with pytest.raises(InputError, match=message):
        Convolution(irreps[0], irreps[1].replace("4x", ""), irreps[2], product="cp", **options)
    with pytest.raises(InputError, match="product='cg' has no option 'rank'"):
        Interaction(*irreps, rank=7)
