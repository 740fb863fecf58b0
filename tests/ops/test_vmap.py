"""Compiled operators under torch.vmap, as those who batch the rows of a Hessian use it: right, item after item."""

import pytest
import torch

from equitensor import testing
from equitensor.nn import Convolution, Interaction, ManyBody

IRREPS = "3x0e+3x1o"
EDGES = torch.tensor([[0, 1, 2, 2, 3], [1, 0, 1, 3, 2]])

pytestmark = [
    pytest.mark.usefixtures("compiled_operators"),
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # torch says so
]


def convolution():
    layer = Convolution(IRREPS, "0e+1o", IRREPS).double()
    y, w = (torch.randn(5, width, dtype=torch.float64) for width in (4, layer.weight_numel))
    return lambda x: layer(x, y, w, EDGES)


def radial_convolution():
    layer = Convolution(IRREPS, "0e+1o", IRREPS).double()
    y, h, m = (torch.randn(shape, dtype=torch.float64) for shape in ((5, 4), (5, 2), (2, layer.weight_numel)))
    return lambda x: layer.forward_radial(x, y, h, m, EDGES)


def interaction():
    layer = Interaction(IRREPS, IRREPS, IRREPS).double()
    return lambda x: layer(x, x.sin())


def many_body():
    layer = ManyBody(IRREPS, IRREPS, 3, 2).double()
    elements = torch.tensor([0, 1, 1, 0])
    return lambda x: layer(x, elements)


@pytest.mark.parametrize("build", [convolution, radial_convolution, interaction, many_body])
def test_rows_of_a_hessian(build):
    torch.manual_seed(0)
    function = build()
    x = torch.randn(4, 12, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(x).square().sum(), x, create_graph=True)

    def row(direction):
        return torch.autograd.grad(gradient, x, direction, retain_graph=True)[0]

    directions = torch.randn(3, 4, 12, dtype=torch.float64)
    testing.assert_close(torch.vmap(row)(directions), torch.stack([row(each) for each in directions]))


@pytest.mark.parametrize("build", [convolution, radial_convolution, interaction, many_body])
def test_values(build):
    torch.manual_seed(0)
    function, batch = build(), torch.randn(3, 4, 12, dtype=torch.float64)
    testing.assert_close(torch.vmap(function)(batch), torch.stack([function(x) for x in batch]))
