"""What compiled operators refuse, register, leave out, and that threads change nothing."""

import sys

import pytest
import torch
from operands import density_operands, derivatives, embedding, even_coupling, involution, update_operands, values

from equitensor import core
from equitensor.nn import Convolution, Interaction
from equitensor.nn.density_product import DensityProduct
from equitensor.ops import degree_linear as degree_linear_module
from equitensor.ops.channel_product import sparse_entries
from equitensor.ops.degree_linear import degree_linear
from equitensor.ops.operator import _needs
from equitensor.ops.silu import silu

pytestmark = pytest.mark.usefixtures("compiled_operators")
OPERATORS = torch.ops.equitensor


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "operator, inputs",
    [
        ("message_density", density_operands),
        ("edge_update", update_operands),
        ("edge_embedding", lambda: sum(embedding(2, 3, 5), ())),
        ("edge_gather", lambda: (values(2, 3, 4), values(6, 5), values(6, 5))),
        ("edge_read", lambda: (values(2, 3, 4), values(2, 4, 5), values(6, 5), involution(6))),
        ("degree_linear", lambda: (values(2, 4, 3), values(2, 3, 5), False)),
        ("degree_outer", lambda: (values(2, 4, 3), values(2, 4, 5), 2)),
        ("silu", lambda: (values(7),)),
        (
            "channel_product",
            lambda: (values(2, 4, 3), values(2, 4, 3), *sparse_entries(even_coupling(1)), [4, 4, 4], 2),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_registration(operator, inputs):
    torch.library.opcheck(getattr(OPERATORS, operator), inputs())


def test_wrong_shapes_say_what_was_expected():
    with pytest.raises(RuntimeError, match=r"x has shape \[2, 4, 3\], expected \(n, 4, 6\)"):
        OPERATORS.degree_linear(values(2, 4, 3), values(2, 6, 5), False)
    with pytest.raises(RuntimeError, match=r"rows has shape \[5, 5\], expected \(6, channels\)"):
        OPERATORS.edge_gather(values(2, 3, 4), values(5, 5), values(6, 5))
    with pytest.raises(RuntimeError, match=r"rows are torch.float32, harmonics torch.float64"):
        OPERATORS.edge_gather(values(2, 3, 4), values(6, 5, dtype=torch.float32), values(6, 5))


def test_third_derivatives_are_refused_where_there_are_none():
    """Not taken for zero."""
    x = values(5)
    first = torch.autograd.grad(silu(x).sum(), x, create_graph=True)[0]
    second = torch.autograd.grad(first.square().sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="silu_second has no derivative"):
        torch.autograd.grad(second.sum(), x)


def test_weights_get_no_gradient_in_a_pass_that_wants_none(monkeypatch):
    """Forces are such a pass."""
    x, weight, wanted = values(2, 4, 3), values(2, 3, 5), []
    kernel = degree_linear_module._OUTER
    monkeypatch.setattr(degree_linear_module, "_OUTER", lambda *given: (wanted.append(1), kernel(*given)))
    shifted = x + 1
    torch.autograd.grad(degree_linear(shifted, weight).sum(), x)
    assert not wanted
    torch.autograd.grad(degree_linear(shifted, weight).sum(), [x, weight])
    assert wanted


def test_arguments_that_are_none_do_not_shift_whose_gradient_is_wanted():
    wanted, x, y = [], values(3), values(3)

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *arguments):
            ctx.arguments = arguments
            return arguments[1] * arguments[2]

        @staticmethod
        def backward(ctx, g):
            wanted.append(list(_needs(ctx, ctx.needs_input_grad, ctx.arguments)))
            return None, g, g

    torch.autograd.grad(Product.apply(None, x + 1, y + 1).sum(), x)
    assert wanted == [[False, True, False]]


@pytest.mark.parametrize("build", ["degree linear", "density product", "convolution", "channelwise"])
def test_two_threads_give_what_one_gives(build):
    """Enough items for two ranges, whose sums are added up; the same bits whenever there are two."""
    assert core.has_openmp() or sys.platform != "linux", "without OpenMP there never is more than one thread"
    irreps = "+".join(f"16x{l}{'eo'[l % 2]}" for l in range(4))
    if build == "degree linear":
        inputs = (values(64, 16, 32), values(4, 32, 32))
        layer = degree_linear
    elif build == "density product":
        product, species = DensityProduct(2, 3, 32, 3, "cg").double(), torch.arange(20) % 2
        inputs = (values(20, 16, 32), *product.parameters())
        layer = lambda x, *_: product(x, species)  # noqa: E731
    elif build == "convolution":
        conv, edges = Convolution(irreps, "0e+1o+2e+3o", irreps).double(), torch.randint(0, 30, (2, 300))
        inputs = (values(30, 256), values(300, 16), values(300, conv.weight_numel))
        layer = lambda x, y, w: conv(x, y, w, edges)  # noqa: E731
    else:
        layer = Interaction(irreps, irreps, irreps, form="paths").double()
        inputs = (values(200, 256), values(200, 256), layer.weight)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            torch.manual_seed(1)
            results.append(derivatives(lambda: layer(*inputs), inputs, lambda *_: 1.0))
    finally:
        torch.set_num_threads(before)
    for one, two, again in zip(*results, strict=True):
        assert torch.equal(two, again)
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12 * max(1.0, float(one.detach().abs().max())))
