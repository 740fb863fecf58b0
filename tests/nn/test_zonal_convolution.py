import pytest
import torch

from equitensor import testing
from equitensor.errors import InputError
from equitensor.nn import Convolution, ZonalConvolution
from equitensor.o3 import random_rotation, representation, spherical_harmonics

EDGES = torch.tensor([[0, 0, 2, 4, 4, 1], [1, 2, 0, 0, 2, 1]])
CASES = [
    ("3x0e+3x1o+3x2e", "0e+1o+2e+3o", "0e+1o+2e+3o", "even"),
    ("3x0e+3x1o+3x2e+3x1e", "0e+1o+2e", "0e+1o+2e+1e+2o", "all"),
    ("3x1o", "1o", "1e", "all"),
    ("3x2o+3x1e+3x1o", "3o+1o", "2e+2o", "all"),
]


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(layer, nodes=5, edges=EDGES, dtype=torch.float64):
    """x, edge_vec, edge_weight."""
    count = edges.shape[1]
    shapes = ((nodes, layer.irreps_in.dim), (count, 3), (count, layer.weight_numel))
    return [normal(*shape, seed=n, dtype=dtype) for n, shape in enumerate(shapes)]


def by_harmonics(layer, normalization):
    lmax = max(ir.l for _, ir in layer.irreps_edge)

    def convolve(x, edge_vec, weight):
        harmonics = spherical_harmonics(lmax, edge_vec, normalization, normalize=True)
        columns = [harmonics[:, ir.l**2 : (ir.l + 1) ** 2] for _, ir in layer.irreps_edge]
        return layer(x, torch.cat(columns, dim=1), weight, EDGES)

    return convolve


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("normalization", ["component", "norm"])
def test_equals_convolution_with_harmonics(case, normalization):
    *irreps, paths = case
    layer = ZonalConvolution(*irreps, paths=paths, normalization=normalization).double()
    for number, parameter in enumerate(layer.parameters()):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
    reference = Convolution(*irreps, product="gaunt", paths=paths).double()
    reference.load_state_dict(layer.state_dict())
    assert (layer.irreps_out, layer.paths) == (reference.irreps_out, reference.paths)
    theirs = by_harmonics(reference, normalization)
    testing.assert_same_map(lambda *t: layer(*t, EDGES), theirs, inputs(layer))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equivariant(dtype):
    *irreps, paths = CASES[1]
    layer = ZonalConvolution(*irreps, paths=paths).to(dtype)
    x, edge_vec, weight = inputs(layer, dtype=dtype)
    for inversion in (False, True):
        rotation = random_rotation(torch.Generator().manual_seed(2), inversion)
        turn_in, turn_out = (representation(i, rotation).T.to(dtype) for i in (layer.irreps_in, layer.irreps_out))
        turned = layer(x @ turn_in, edge_vec @ rotation.T.to(dtype), weight, EDGES)
        expected = layer(x, edge_vec, weight, EDGES) @ turn_out
        testing.assert_close(turned, expected, 10 * testing.TOLERANCES[dtype].exact)


def test_twice_differentiable():
    layer = ZonalConvolution("0e+1o", "0e+1o+2e", "0e+1o+1e", paths="all").double()
    edges = torch.tensor([[0, 1], [1, 0]])
    testing.assert_twice_differentiable(lambda *t: layer(*t, edges), inputs(layer, 2, edges))


def test_empty_and_repr():
    layer = ZonalConvolution("4x0e+4x1o", "0e+1o", "0e+1o", paths="even")
    x, edge_vec, weight = inputs(layer, dtype=torch.float32)
    assert not layer(x, edge_vec[:0], weight[:0], EDGES[:, :0]).any()
    assert "4 paths, 8 weights per edge, 6 points" in repr(layer)


def test_refusals():
    with pytest.raises(InputError, match="irreps_edge is '1x1e': give harmonics"):
        ZonalConvolution("1o", "1e", "1e")
    with pytest.raises(InputError, match=r"is odd.*paths='all'"):
        ZonalConvolution("1o", "1o", "1e")
    layer = ZonalConvolution("1o", "1o", "0e")
    x, edge_vec, weight = inputs(layer, dtype=torch.float32)
    with pytest.raises(InputError, match=r"edge_vec has shape \(6, 2\): expected \(6, 3\)"):
        layer(x, edge_vec[:, :2], weight, EDGES)
