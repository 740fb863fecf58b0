"""Many-body products as a layer: atoms, elements, layouts, precision, weights, refusals."""

import copy

import pytest
import torch

from equitensor import testing
from equitensor.errors import InputError
from equitensor.nn import ManyBody
from equitensor.nn.layout import to_channels_last, to_flat
from equitensor.o3 import as_irreps

PRODUCTS = ("cg", "gaunt", "cp")
NATURAL = "3x0e+3x1o+3x2e"
ELEMENTS = torch.tensor([0, 2, 2, 0, 2])


def features(irreps, items=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return 0.5 * torch.randn(items, as_irreps(irreps).dim, generator=generator, dtype=dtype)


@pytest.mark.parametrize("product", PRODUCTS)
def test_atoms_and_elements_can_be_renumbered(product):
    layer = ManyBody(NATURAL, NATURAL, 3, 4, product).double()
    x, index = features(NATURAL, 40), torch.arange(40).square() % 4
    z = layer(x, index)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    testing.assert_close(layer(x[order], index[order]), z[order])
    renamed = copy.deepcopy(layer)
    new = torch.tensor([2, 0, 3, 1])
    for weight, old in zip(renamed.weights, layer.weights, strict=True):
        weight.data[new] = old.data
    testing.assert_close(renamed(x, new[index]), z)
    testing.assert_close(torch.cat([layer(x[n : n + 1], index[n : n + 1]) for n in range(40)]), z)
    assert float((layer(x, (index + 1) % 4) - z).detach().abs().max()) > 0.1


@pytest.mark.parametrize("product", PRODUCTS)
def test_layouts_empty_input_and_dtypes(product):
    flat = ManyBody(NATURAL, "3x0e+3x1o", 3, 3, product).double()
    last = ManyBody(NATURAL, "3x0e+3x1o", 3, 3, product, layout="channels_last").double()
    last.load_state_dict(flat.state_dict())
    x = features(NATURAL)
    z = last(to_channels_last(x, flat.irreps_in), ELEMENTS)
    assert z.shape == (5, 4, 3)
    testing.assert_close(to_flat(z, flat.irreps_out), flat(x, ELEMENTS))
    empty = x[:0].clone().requires_grad_()
    nothing = flat(empty, ELEMENTS[:0])
    assert nothing.shape == (0, 12)
    (gradient,) = torch.autograd.grad(nothing.sum(), [empty])
    assert gradient.shape == empty.shape
    strided = x.T.contiguous().T
    testing.assert_close(flat(strided, ELEMENTS), flat(x, ELEMENTS))
    z = flat(x, ELEMENTS).detach()
    error = float((copy.deepcopy(flat).float()(x.float(), ELEMENTS) - z).detach().abs().max())
    assert 0 < error < testing.TOLERANCES[torch.float32].exact * float(z.abs().max())
    there_and_back = copy.deepcopy(flat).float().double()
    there_and_back.load_state_dict(flat.state_dict())
    testing.assert_close(there_and_back(x, ELEMENTS), flat(x, ELEMENTS))


@pytest.mark.parametrize("product", PRODUCTS)
def test_initial_weights_keep_unit_variance(product):
    torch.manual_seed(0)
    irreps = NATURAL.replace("3x", "64x")
    layer = ManyBody(irreps, irreps, 3, 1, product)
    assert all(bool((w != 0).all()) for w in layer.weights)
    z = layer(2 * features(irreps, 400, dtype=torch.float32), torch.zeros(400, dtype=torch.long)).detach()
    for block in layer.irreps_out.slices():
        assert 0.4 < float(z[:, block].var()) < 3


def test_repr_paths_and_weights():
    layer = ManyBody("8x0e+8x1o", "8x0e+8x1o", 3, 4)
    assert [len(own) for own in layer.paths] == [2, 3, 4]
    assert layer.paths[0] == (((layer.irreps_in[0].ir,), (0, 1)), ((layer.irreps_in[1].ir,), (1, -1)))
    assert [tuple(w.shape) for w in layer.weights] == [(4, 2, 8), (4, 3, 8), (4, 4, 8)]
    assert "2 + 3 + 4 paths, 288 weights" in repr(layer) and f"{layer.flops} flops per atom" in repr(layer)
    grid = repr(ManyBody("8x0e+8x1o+8x2e", "8x0e+8x1o", 3, 4, "gaunt"))
    assert "2 + 2 + 2 paths, 192 weights" in grid and "32 points" in grid
    assert "coupling error" in repr(ManyBody("8x0e+8x1o", "8x0e", 3, 4, "cp"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("4x0e+4x1o", "4x1e", 3, 2, "gaunt"), "cannot make 1e .* parities"),
        (("4x0e+4x1o", "4x1e", 2, 2, "cg"), "cannot make 1e of irreps_out from up to 2 factors"),
        (("4x0e+4x1o", "4x1e", 2, 2, "cp"), "antisymmetric"),
        (("4x1o", "4x3o", 2, 2, "gaunt"), "cannot make 3o"),
        (("4x0e+3x1o", "4x0e", 2, 2), "same multiplicity"),
        (("4x0e+4x1o", "3x0e", 2, 2), "multiplicities differ"),
        (("4x0e", "4x0e", 5, 2), "correlation is 5: give a whole number from 1 to 4"),
        (("4x0e", "4x0e", 2, 0), "num_elements is 0"),
        (("4x0e", "4x0e", 2, 2, "fourier"), "product is 'fourier'"),
        (("4x0e", "4x0e", 2, 2, "cg", "rows"), "layout is 'rows'"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(InputError, match=message):
        ManyBody(*arguments)


@pytest.mark.parametrize("product", PRODUCTS)
def test_wrong_operands(product):
    layer = ManyBody("4x0e+4x1o", "4x0e", 2, 3, product)
    x, index = torch.zeros(2, 16), torch.tensor([0, 1])
    for arguments, message in (
        ((x[:, :15], index), r"x has shape \(2, 15\): ManyBody expects \(n, 16\)"),
        ((x.double(), index), "x is torch.float64 .* ManyBody layer torch.float32"),
        ((x, index[:1]), r"element_index is torch.int64 \(1,\): ManyBody expects whole \(2,\)"),
        ((x, index.double()), "element_index is torch.float64"),
        ((x, index + 2), "runs from 2 to 3: ManyBody has elements 0 to 2"),
        ((x, index - 1), "runs from -1 to 0"),
    ):
        with pytest.raises(InputError, match=message):
            layer(*arguments)


@pytest.mark.parametrize("product", PRODUCTS)
def test_compiles(product):
    layer = ManyBody("2x0e+2x1o", "2x0e+2x1o", 3, 3, product).double()
    x = features("2x0e+2x1o")
    compiled = torch.compile(lambda x: layer(x, ELEMENTS), backend="aot_eager")
    (actual, expected) = (
        torch.autograd.grad(f(leaf).square().sum(), [leaf])[0]
        for f, leaf in ((compiled, x.clone().requires_grad_()), (lambda x: layer(x, ELEMENTS), x.requires_grad_()))
    )
    testing.assert_close(actual, expected)
