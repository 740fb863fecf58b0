"""The operators that are closed under differentiation: torch's own checks, derivatives, portions of any size."""

import pytest
import torch

from equitensor import testing
from equitensor.o3 import wigner_3j
from equitensor.ops import uuu_product, uvu_convolution, uvu_product
from equitensor.ops.uuu_workspace import Layout, UUUPath, pack_pairs
from equitensor.ops.uvu_paths import UVUPath, pack_groups, pack_paths

# x: 2 copies of degree 1, 3 of degree 2; y: degrees 0, 1, 2; two paths add to one place of z
UVU_PATHS = [
    UVUPath(0, 1, 0, 0, 2, 3, 3, 3),
    UVUPath(6, 4, 2, 6, 3, 5, 5, 3),
    UVUPath(6, 0, 5, 15, 3, 5, 1, 5),
    UVUPath(0, 4, 8, 0, 2, 3, 5, 3),
]
UVU_BLOCKS = [wigner_3j(*degrees).transpose(0, 1) for degrees in ((1, 1, 1), (2, 2, 1), (2, 0, 2), (1, 2, 1))]
UUU_PATHS = [UUUPath(0, 0, 0, 0, 1, 3, 3), UUUPath(1, 0, 1, 0, 3, 3, 3), UUUPath(1, 0, 2, 3, 3, 3, 5)]
UUU_BLOCKS = [wigner_3j(*degrees) for degrees in ((0, 1, 1), (1, 1, 1), (1, 1, 2))]
SENDER, RECEIVER = torch.tensor([0, 3, 3, 1, 0, 2, 1]), torch.tensor([1, 0, 1, 1, 3, 0, 1])


def normal(*shapes):
    return [
        torch.randn(shape, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
        for n, shape in enumerate(shapes)
    ]


def convolution(items=7):
    plan, table = pack_paths(UVU_PATHS, UVU_BLOCKS)
    constants = (SENDER[:items], RECEIVER[:items], table, plan, 32)
    return uvu_convolution.uvu_convolution, normal((4, 21), (items, 9), (items, 10)), constants


def product(items=3):
    plan, table = pack_groups(UVU_PATHS, UVU_BLOCKS, 9)
    return uvu_product.uvu_product, normal((items, 21), (items, 9), (items, 10)), (table, plan, 32)


def channelwise(items=3, channels_last=False, weights=None):
    plan, table = pack_pairs(UUU_PATHS, UUU_BLOCKS)
    layout = Layout([1, 3], [3], [3, 5], 2, channels_last)
    operands = normal((items, 8), (items, 6), weights or (3, items, 2))
    return uuu_product.uuu_product, operands, (table, plan, layout)


def uvu_messages(x, y, w):
    """(e, 32), flat copies, path by path."""
    z = x.new_zeros(len(x), 32)
    for p, block in zip(UVU_PATHS, UVU_BLOCKS, strict=True):
        first = x[:, p.x : p.x + p.mul * p.i].unflatten(1, (p.mul, p.i))
        term = torch.einsum("eui,ej,eu,jik->euk", first, y[:, p.y : p.y + p.j], w[:, p.w : p.w + p.mul], block)
        z = z + torch.nn.functional.pad(term.flatten(1), (p.z, 32 - p.z - p.mul * p.k))
    return z


def exchanged(rows, shapes):
    blocks = rows.split([a * b for a, b in shapes], 1)
    return torch.cat([b.unflatten(1, s).transpose(1, 2).flatten(1) for b, s in zip(blocks, shapes, strict=True)], 1)


def convolution_reference(x, y, w):
    messages = uvu_messages(x[SENDER], y, w)
    return messages.new_zeros(4, 32).index_add(0, RECEIVER, messages)


def channelwise_reference(x, y, w):
    x = [b.unflatten(1, (2, -1)) for b in x.split([2, 6], 1)]
    y, w = y.unflatten(1, (2, 3)), w.expand(3, len(y), 2)
    terms = [
        torch.einsum("nui,nuj,nu,ijk->nuk", x[n], y, v, block)
        for n, v, block in zip((0, 1, 1), w, UUU_BLOCKS, strict=True)
    ]
    return torch.cat([(terms[0] + terms[1]).flatten(1), terms[2].flatten(1)], 1)


CASES = [
    (convolution, convolution_reference, (uvu_convolution, "SCRATCH")),
    (product, uvu_messages, (uvu_product, "SCRATCH")),
    (channelwise, channelwise_reference, (uuu_product, "SCRATCH")),
]


@pytest.mark.parametrize("size", [1, 40, 1 << 17])
@pytest.mark.parametrize(("build", "reference", "portion"), CASES)
def test_equals_einsum_in_portions_of_any_size(build, reference, portion, size, monkeypatch):
    monkeypatch.setattr(*portion, size)
    operation, operands, constants = build()
    testing.assert_same_map(lambda *t: operation(*t, *constants), reference, operands)


@pytest.mark.parametrize("weights", [(3, 1, 2), (3, 1, 1)])
def test_weights_that_items_and_channels_share(weights):
    operation, operands, constants = channelwise(weights=weights)
    testing.assert_same_map(lambda *t: operation(*t, *constants), channelwise_reference, operands)


def test_channels_last():
    operation, (x, y, w), constants = channelwise()
    last, (turned_x, turned_y), out = (
        channelwise(channels_last=True),
        (exchanged(x, [(2, 1), (2, 3)]), exchanged(y, [(2, 3)])),
        operation(x, y, w, *constants),
    )
    testing.assert_close(last[0](turned_x, turned_y, w, *last[2]), exchanged(out, [(2, 3), (2, 5)]))


@pytest.mark.parametrize(("build", "reference"), [case[:2] for case in CASES])
def test_third_derivatives(build, reference):
    """The derivatives of the tangents are sums of the other two operators."""
    operation, operands, constants = build()

    def third(function):
        leaves = [t.detach().requires_grad_() for t in operands]
        terms = [function(*leaves)]
        for order in range(3):
            terms = torch.autograd.grad(sum((t**2).sum() for t in terms), leaves, create_graph=order < 2)
        return terms

    for ours, theirs in zip(third(lambda *t: operation(*t, *constants)), third(reference), strict=True):
        testing.assert_close(ours, theirs)


@pytest.mark.parametrize("build", [convolution, product, channelwise])
def test_operators_pass_opcheck(build):
    operation, (x, y, w), constants = build()
    constants = constants if operation is not uuu_product.uuu_product else (*constants[:2], *constants[2])
    name, leaves = operation.__name__, [t.requires_grad_() for t in (x, y, w)]
    z = getattr(torch.ops.equitensor, name)(*leaves, *constants)
    g = torch.ones_like(z, requires_grad=True)
    arguments = {
        name: leaves,
        f"{name}_gradients": [*leaves, g, True, True, False],
        f"{name}_tangents": [*leaves, g, x.detach().clone(), None, w.detach().clone()],
    }
    for operator, given in arguments.items():
        torch.library.opcheck(getattr(torch.ops.equitensor, operator).default, (*given, *constants))


@pytest.mark.parametrize("build", [convolution, product, channelwise])
def test_nothing_to_multiply(build):
    operation, operands, constants = build(0)
    leaves = [t.requires_grad_() for t in operands]
    z = operation(*leaves, *constants)
    assert not z.any() and all(not g.any() for g in torch.autograd.grad(z.sum(), leaves))
