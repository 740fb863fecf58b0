"""Every compiled operator against its reference in plain torch: values, first and second derivatives."""

import pytest
import torch
from operands import (
    density_operands,
    derivatives,
    embedding,
    even_coupling,
    harmonics_of,
    involution,
    layer,
    update_operands,
    values,
)
from torch.autograd import gradcheck, gradgradcheck

from equitensor.nn import Convolution
from equitensor.nn.density_product import DensityInvariants, DensityProduct
from equitensor.nn.edge_geometry import EdgeGeometry
from equitensor.nn.message_passing import AtomicDensity, EdgeUpdate
from equitensor.o3 import wigner_3j
from equitensor.ops.channel_product import channel_product, sparse_entries
from equitensor.ops.degree_linear import degree_linear
from equitensor.ops.edge_embedding import edge_embedding
from equitensor.ops.edge_form import gather_edges, read_edges
from equitensor.ops.silu import silu

pytestmark = pytest.mark.usefixtures("compiled_operators")
OPERATORS = torch.ops.equitensor
CHANNELS = (1, 3, 16, 37, 64)  # below, at, above and between whole registers
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def assert_same(compiled, reference, inputs):
    drawn = {}

    def seeds(order, k, like):
        return drawn.setdefault((order, k), torch.randn_like(like))

    pairs = zip(derivatives(compiled, inputs, seeds), derivatives(reference, inputs, seeds), strict=True)
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        scale = float(theirs.detach().abs().max()) if theirs.numel() else 1.0
        tolerance = TOLERANCE[ours.dtype] * max(1.0, scale)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("atoms, width, lmax", [(0, 1, 1), (3, 1, 0), (5, 4, 2), (2, 7, 3)])
def test_edges(atoms, width, lmax, channels, dtype, in_plain_torch):
    harmonics = values(atoms, width, (lmax + 1) ** 2, dtype=dtype)
    a, b = (values(atoms * width, channels, dtype=dtype) for _ in range(2))
    features, rev = values(atoms, (lmax + 1) ** 2, channels, dtype=dtype), involution(atoms * width)
    for function, inputs, constant in (
        (gather_edges, (harmonics, a, b), ()),
        (read_edges, (harmonics, features, a), (rev,)),
    ):
        assert_same(
            lambda f=function, i=inputs, c=constant: f(*i, *c),
            lambda f=function, i=inputs, c=constant: in_plain_torch(f, *i, *c),
            inputs,
        )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("edges, lmax", [(0, 2), (1, 0), (3, 1), (9, 3), (6, 6)])
def test_edge_geometry(edges, lmax, dtype, in_plain_torch):
    layer = EdgeGeometry(5.0, lmax, 8).to(dtype)
    vectors = (torch.randn(edges, 3, dtype=dtype) * 2).requires_grad_(True)  # some beyond the cutoff
    assert_same(lambda: layer(vectors), lambda: in_plain_torch(layer, vectors), (vectors,))


@pytest.mark.parametrize("used", [0, 1, 2])
def test_edge_geometry_of_which_one_part_is_used(used, in_plain_torch):
    """Autograd then has no gradients for the others."""
    layer, vectors = EdgeGeometry(5.0, 2, 8).double(), values(4, 3)
    assert_same(lambda: layer(vectors)[used], lambda: in_plain_torch(layer, vectors)[used], (vectors,))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("atoms, lmax, channels", [(0, 1, (3, 4)), (9, 0, (5, 2)), (21, 2, (7, 13)), (8, 3, (32, 16))])
def test_degree_linear(atoms, lmax, channels, dtype, in_plain_torch):
    x = values(atoms, (lmax + 1) ** 2, channels[0], dtype=dtype)
    weight = values(lmax + 1, *channels, dtype=dtype)
    assert_same(lambda: degree_linear(x, weight), lambda: in_plain_torch(degree_linear, x, weight), (x, weight))


@pytest.mark.parametrize("layer", [DensityProduct, DensityInvariants])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("product", ["cg", "gaunt", "cp"])
@pytest.mark.parametrize("atoms, lmax, channels, order", [(0, 1, 3, 2), (3, 0, 5, 1), (4, 3, 37, 3), (3, 2, 8, 4)])
def test_density_product(layer, product, atoms, lmax, channels, order, dtype, in_plain_torch):
    layer = layer(2, lmax, channels, order, product).to(dtype)
    x, species = values(atoms, (lmax + 1) ** 2, channels, dtype=dtype), torch.arange(atoms) % 2
    inputs = (x, *layer.parameters())
    assert_same(lambda: layer(x, species), lambda: in_plain_torch(layer, x, species), inputs)


@pytest.mark.parametrize("layer", [DensityProduct, DensityInvariants])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("product", ["cg", "gaunt"])
@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("atoms, width, lmax", [(0, 1, 1), (5, 3, 2)])
def test_message_density(layer, product, atoms, width, lmax, even, dtype, in_plain_torch):
    layer, density = layer(2, lmax, 6, 3, product).to(dtype), AtomicDensity(lmax, 6, 5, 4, 3.0, 9, 1.0).to(dtype)
    harmonics, start = harmonics_of(atoms, width, lmax, even, dtype)
    messages, radial = (values(atoms * width, channels, dtype=dtype) for channels in (5, 4))
    given = (density, messages, radial, harmonics, torch.arange(atoms) % 2, start)
    inputs = (messages, radial, harmonics, *layer.parameters(), *density.parameters())
    assert_same(lambda: layer.of_messages(*given), lambda: in_plain_torch(layer.of_messages, *given), inputs)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("atoms, width, lmax, channels", [(0, 1, 1, (3, 4)), (5, 3, 2, (7, 5)), (4, 2, 3, (32, 16))])
def test_edge_update(atoms, width, lmax, channels, even, dtype, in_plain_torch):
    layer, slots = EdgeUpdate(lmax, *channels, 4, 1.0).to(dtype), atoms * width
    messages, radial = values(slots, channels[1], dtype=dtype), values(slots, 4, dtype=dtype)
    features = values(atoms, (lmax + 1) ** 2, channels[0], dtype=dtype)
    harmonics, start = harmonics_of(atoms, width, lmax, even, dtype)
    given, rev = (messages, features, radial, harmonics), involution(slots)
    inputs = (*given, *layer.parameters())
    assert_same(lambda: layer(*given, rev, start), lambda: in_plain_torch(layer, *given, rev, start), inputs)


@pytest.mark.parametrize("start", [(0, 3, 7), (1, 3, 6), (0, 9, 6)])
def test_slots_that_do_not_follow_one_another_are_refused(start):
    *operands, right = update_operands()
    updated, *kept = OPERATORS.edge_update(*operands, right)
    with pytest.raises(RuntimeError, match="the slots of atom"):
        OPERATORS.edge_update(*operands, torch.tensor(start))
    with pytest.raises(RuntimeError, match="the slots of atom"):
        OPERATORS.edge_update_first(*operands, torch.tensor(start), *kept, updated, None, [True] * 10)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("atoms, width, channels", [(0, 1, 3), (5, 3, 7), (4, 2, 16)])
def test_edge_embedding(atoms, width, channels, dtype, in_plain_torch):
    inputs, indices = embedding(atoms, width, channels, dtype)
    compiled, reference = (
        lambda: edge_embedding(*inputs, *indices),
        lambda: in_plain_torch(edge_embedding, *inputs, *indices),
    )
    assert_same(compiled, reference, inputs)


@pytest.mark.parametrize("operator", ["message_density", "edge_update", "edge_embedding"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_second_derivatives_of_layers_as_training_takes_them(operator, dtype, in_plain_torch):
    """Gradients by data alone, whose combination is differentiated by everything: no tangent of a weight."""
    function, data, weights = layer(operator, dtype)
    drawn = {}

    def results(call):
        seed = lambda place, like: drawn.setdefault(place, torch.randn_like(like))  # noqa: E731
        value = call()
        moved = torch.autograd.grad((value * seed("value", value)).sum(), data, create_graph=True)
        total = value.square().sum() + sum((g * seed(place, g)).sum() for place, g in enumerate(moved))
        return [*moved, *torch.autograd.grad(total, [*data, *weights])]

    for ours, theirs in zip(results(function), results(lambda: in_plain_torch(function)), strict=True):
        scale = max(1.0, float(theirs.detach().abs().max()))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("part", range(8))
def test_part_of_the_derivatives_of_message_density(part):
    """What is asked for does not depend on what else is."""
    inputs = density_operands(atoms=4)
    function = lambda: OPERATORS.message_density(*inputs)[0]  # noqa: E731
    points = inputs[:8]
    g = torch.randn_like(function())
    whole = torch.autograd.grad((function() * g).sum(), points, create_graph=True)
    one = torch.autograd.grad((function() * g).sum(), points[part], create_graph=True)[0]
    torch.testing.assert_close(one, whole[part])
    wanted = torch.autograd.grad(whole[part].square().sum(), points, allow_unused=True, materialize_grads=True)
    for at, expected in zip(points, wanted, strict=True):
        gradients = torch.autograd.grad(
            one.square().sum(), at, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        torch.testing.assert_close(gradients[0], expected)


@pytest.mark.parametrize("channels", CHANNELS)
def test_channel_product(channels):
    tensor = even_coupling(2)
    tables = (*sparse_entries(tensor), tensor.shape)
    x, y = values(3, 9, channels), values(3, 9, channels)
    assert_same(lambda: channel_product(x, y, *tables), lambda: torch.einsum("ijk,nic,njc->nkc", tensor, x, y), (x, y))


def messages_and_sum(conv, edges, x, y, w):
    """Path by path, edge by edge."""
    irreps, weights = (conv.irreps_in, conv.irreps_edge, conv.irreps_out), iter(w.split(conv.irreps_in[0].mul, 1))
    blocks = [
        [row[:, part].unflatten(1, (-1, ir.dim)) for part, (_, ir) in zip(space.slices(), space, strict=True)]
        for row, space in zip((x[edges[0]], y), irreps, strict=False)
    ]
    paths = []
    for i, j, k, *_ in conv.instructions:
        degrees = [space[slot].ir.l for space, slot in zip(irreps, (i, j, k), strict=True)]
        coupling = (2 * degrees[2] + 1) ** 0.5 * wigner_3j(*degrees).to(x)
        message = torch.einsum("eci,ej,ec,ijk->eck", blocks[0][i], blocks[1][j].squeeze(1), next(weights), coupling)
        paths.append(message.flatten(1))
    return x.new_zeros(len(x), irreps[2].dim).index_add(0, edges[1], torch.cat(paths, 1))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("channels, lmax", [(1, 2), (3, 3), (16, 1), (37, 2), (2, 4), (100, 1), (4, 0)])
@pytest.mark.parametrize("edges", [0, 90])
def test_convolution_of_isolated_and_crowded_atoms(channels, lmax, edges, dtype):
    natural = [f"{l}{'eo'[l % 2]}" for l in range(lmax + 1)]
    irreps = "+".join(f"{channels}x{ir}" for ir in natural)
    conv = Convolution(irreps, "+".join(natural), irreps).to(dtype)
    index = torch.stack([torch.randint(5, (edges,)), torch.randint(2, (edges,)) * 3])  # none to 1, 2, 4
    inputs = [values(n, width, dtype=dtype) for n, width in ((5, conv.irreps_in.dim), (edges, len(natural) ** 2))]
    inputs.append(values(edges, conv.weight_numel, dtype=dtype))
    assert_same(lambda: conv(*inputs, index), lambda: messages_and_sum(conv, index, *inputs), inputs)


def test_silu():
    for dtype, tolerance in ((torch.float64, 1e-15), (torch.float32, 3e-7)):
        x = torch.cat([torch.linspace(-110, 110, 1003), torch.tensor([0.0, 1e-8, -800, 800])]).to(dtype)
        wanted = torch.nn.functional.silu(x.double())
        assert ((silu(x) - wanted).abs() <= tolerance * (wanted.abs() + 1e-3)).all()
    x = values(21)
    assert gradcheck(silu, x)
    assert gradgradcheck(silu, x)


def test_rows_that_are_not_contiguous(in_plain_torch):
    x, weight = values(16, 5, 9).transpose(0, 1)[:, :, 1:], values(6, 8, 4).transpose(0, 2)
    harmonics, rows = values(4, 5, 3).mT, values(6, 15).T
    with torch.no_grad():
        for function, inputs in ((degree_linear, (x, weight)), (gather_edges, (harmonics[:, :3], rows[:12], rows[3:]))):
            torch.testing.assert_close(function(*inputs), in_plain_torch(function, *inputs), rtol=0, atol=1e-12)
