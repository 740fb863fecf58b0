import pytest
import torch

from equitensor import testing
from equitensor.errors import InputError
from equitensor.nn import Convolution, Interaction
from equitensor.o3 import gaunt, poisson

FORMS = ("grid", "fourier", "direct", "fastest")
TRUE = "2x0e+2x1o+2x2e"
BOTH = "2x0e+2x1o+2x2e+2x0o+2x1e+2x2o"
EDGES = torch.tensor([[0, 0, 2, 4, 4, 1], [1, 2, 0, 0, 2, 1]])


def natural(lmax, channels=1):
    return "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(lmax + 1))


def normal(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def interactions(irreps, paths="even", dtype=torch.float64):
    return [Interaction(*irreps, product="gaunt", paths=paths, form=form).to(dtype) for form in FORMS]


def inputs(layer, items=3, dtype=torch.float64):
    spaces = (layer.irreps_in1, layer.irreps_in2)
    return [normal(items, irreps.dim, dtype=dtype, seed=n) for n, irreps in enumerate(spaces)]


@pytest.mark.parametrize("lmax", range(1, 11))
def test_forms_agree(lmax):
    irreps = natural(lmax)
    grid, *others = interactions((irreps, irreps, irreps))
    x, y = inputs(grid, 2)
    weight = normal(grid.weight_numel)
    expected = grid(x, y, weight)
    for other in others:
        testing.assert_close(other(x, y, weight), expected, 1e-12)


@pytest.mark.parametrize("lmax", [1, 2, 3, 6])
def test_forms_agree_on_all_paths(lmax):
    irreps = natural(lmax)
    out = irreps + "+" + "+".join(f"{l}{'oe'[l % 2]}" for l in range(1, lmax + 1))
    grid, *others = interactions((irreps, irreps, out), "all")
    x, y = inputs(grid, 2)
    expected = grid(x, y)
    for other in others:
        testing.assert_close(other(x, y), expected, 1e-12)


@pytest.mark.parametrize("paths", ["even", "all"])
@pytest.mark.parametrize("form", FORMS)
def test_derivatives_of_forms_agree(paths, form):
    spaces = (BOTH, "2x0e+2x1o+2x1e", BOTH)
    layer = Interaction(*spaces, product="gaunt", paths=paths, form=form).double()
    weight = normal(3, layer.weight_numel)
    testing.assert_same_map(layer, lambda x, y, w: by_blocks(layer, x, y, w), [*inputs(layer), weight])


def by_blocks(layer, x, y, weight):
    """Every path by itself with its closed coupling tensor."""
    spaces = (layer.irreps_in1, layer.irreps_in2, layer.irreps_out)
    w1, w2, w3 = weight.unflatten(-1, (-1, 2)).split([len(s) for s in spaces], dim=-2)
    out = [0.0] * len(spaces[2])
    for i, j, k, *_ in layer.instructions:
        degrees = [space[n].ir.l for space, n in zip(spaces, (i, j, k), strict=True)]
        u = x[..., spaces[0].slices()[i]].unflatten(-1, (2, -1)) * w1[..., i, :, None]
        v = y[..., spaces[1].slices()[j]].unflatten(-1, (2, -1)) * w2[..., j, :, None]
        coupling = poisson(*degrees) if sum(degrees) % 2 else gaunt(*degrees)
        out[k] = out[k] + w3[..., k, :, None] * torch.einsum("...ci,...cj,ijk->...ck", u, v, coupling)
    return torch.cat([block.flatten(-2) for block in out], dim=-1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("form", FORMS)
def test_equivariant(form, dtype):
    for spaces in ((BOTH, BOTH, BOTH), (TRUE, TRUE, BOTH.replace("+2x0o", ""))):
        layer = Interaction(*spaces, product="gaunt", paths="all", form=form).to(dtype)
        testing.assert_equivariant(layer, spaces[:2], spaces[2], dtype=dtype)


@pytest.mark.parametrize("form", FORMS)
def test_float32(form):
    irreps = natural(10)
    layer = Interaction(irreps, irreps, irreps, product="gaunt", form=form).double()
    x, y = inputs(layer)
    expected = layer(x, y).float()
    testing.assert_close(layer.float()(x.float(), y.float()), expected)


@pytest.mark.parametrize("form", FORMS)
def test_twice_differentiable(form):
    spaces = ("0e+1o", "0e+1o", "0e+1o+1e")
    layer = Interaction(*spaces, product="gaunt", paths="all", form=form).double()
    testing.assert_twice_differentiable(layer, [*inputs(layer, 1), normal(layer.weight_numel)])


@pytest.mark.parametrize("form", FORMS)
def test_shapes_and_powers(form):
    layer = Interaction(BOTH, BOTH, BOTH, product="gaunt", paths="all", form=form).double()
    x, y = inputs(layer, 6)
    testing.assert_close(layer(x.view(2, 3, -1), y.view(2, 3, -1)).view(6, -1), layer(x, y))
    testing.assert_close(layer(x[0], y), layer(x[:1].expand(6, -1), y))
    testing.assert_close(layer(x, y[0]), layer(x, y[:1].expand(6, -1)))
    assert layer(x[:0], y[:0]).shape == (0, layer.irreps_out.dim)
    square = layer(x, x.clone())
    testing.assert_close(layer(x, x), square)
    testing.assert_close(layer.powers(x, 3)[2], layer(square, x))


def test_cross_product():
    layer = Interaction("1x1o", "1x1o", "1x1e", product="gaunt", paths="all", internal_weights=False).double()
    x, y = inputs(layer)
    testing.assert_close(layer(x, y), (3 / (4 * torch.pi)) ** 0.5 * torch.linalg.cross(x, y))


def test_unit_variance():
    spaces = [irreps.replace("2x", "64x") for irreps in (TRUE, TRUE, BOTH.replace("+2x0o", ""))]
    layer = Interaction(*spaces, product="gaunt", paths="all")
    z = layer(*inputs(layer, 300, torch.float32)).detach()
    for block in layer.irreps_out.slices():
        assert 0.6 < float(z[:, block].var()) < 1.6


@pytest.mark.parametrize("paths", ["even", "all"])
@pytest.mark.parametrize("form", ["fourier", "direct"])
def test_convolutions_agree(paths, form):
    spaces = ("3x0e+3x1o+3x2e+3x1e", "0e+1o+2e+1e", "0e+1o+2e+1e+2o" if paths == "all" else "0e+1o+2e+1e")
    grid, other = (Convolution(*spaces, product="gaunt", paths=paths, form=f).double() for f in ("grid", form))
    for number, (parameter, copy) in enumerate(zip(grid.parameters(), other.parameters(), strict=True)):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
        copy.data.copy_(parameter.data)
    x, edge_attr = normal(5, grid.irreps_in.dim), normal(6, grid.irreps_edge.dim, seed=1)
    weight = normal(6, grid.weight_numel, seed=2)
    testing.assert_same_map(lambda *t: other(*t, EDGES), lambda *t: grid(*t, EDGES), [x, edge_attr, weight])
    assert other(x[:2], edge_attr[:0], weight[:0], EDGES[:, :0]).shape == (2, grid.irreps_out.dim)


@pytest.mark.parametrize("form", FORMS[:3])
def test_compiles_as_one_graph(form):
    torch._dynamo.reset()
    layer = Convolution("2x0e+2x1o", "0e+1o", "0e+1o+1e", product="gaunt", paths="all", form=form).double()
    shapes = ((5, layer.irreps_in.dim), (6, layer.irreps_edge.dim), (6, layer.weight_numel))
    operands = [normal(*shape, seed=n).requires_grad_() for n, shape in enumerate(shapes)]
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for ours, plain in zip(
        *(torch.autograd.grad(f(*operands, EDGES).square().sum(), operands) for f in (compiled, layer)), strict=True
    ):
        testing.assert_close(ours, plain)


def test_the_fastest_form_compiles_as_one_graph():
    torch._dynamo.reset()
    layer = Interaction("2x0e+2x1o", "2x0e+2x1o", "2x0e+2x1o", product="gaunt").double()
    operands = [part.requires_grad_() for part in inputs(layer)]
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for ours, plain in zip(
        *(torch.autograd.grad(f(*operands).square().sum(), operands) for f in (compiled, layer)), strict=True
    ):
        testing.assert_close(ours, plain)


def test_refusals():
    with pytest.raises(InputError, match=r"1o x 1o -> 1e: .* is odd.*paths='all'"):
        Interaction("1o", "1o", "1e", product="gaunt")
    with pytest.raises(InputError, match="paths is 'odd': choose one of even, all"):
        Interaction("1o", "1o", "1e", product="gaunt", paths="odd")
    with pytest.raises(InputError, match="form is 'fft': choose one of grid, fourier, direct"):
        Convolution("1o", "1o", "0e", product="gaunt", form="fft")
    with pytest.raises(InputError, match="parity"):
        Interaction("1o", "1o", "1o", product="gaunt", paths="all")
    assert len(Interaction("1o", "1o", "0e+1e+2e", product="gaunt", paths="all").paths) == 3
