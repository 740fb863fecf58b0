import pytest
import torch
from e3nn import o3 as e3nn_o3

from equitensor import testing
from equitensor.errors import InputError
from equitensor.nn.convolution import Convolution
from equitensor.nn.interaction import Interaction
from equitensor.nn.layout import to_flat
from equitensor.o3 import as_irreps, random_rotation, representation

SENDER, RECEIVER = [0, 0, 2, 4, 4, 4, 1], [1, 2, 0, 0, 0, 2, 1]  # node 3 is alone, 0-4 twice, 1 sends to itself
EDGES = torch.tensor([SENDER, RECEIVER])
CASES = {
    "cg": ("3x0e+2x1o+1x1e", "0e+1o+2e", "0e+1o+1e+2e"),
    "gaunt": ("3x0e+3x1o+3x1e+3x2e", "0e+1o+2e", "0e+1o+2e+1e"),
}


def inputs(layer, nodes=5, edges=EDGES, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (nodes, layer.irreps_in.dim),
        (edges.shape[1], layer.irreps_edge.dim),
        (edges.shape[1], layer.weight_numel),
    )
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def convolution(product):
    layer = Convolution(*CASES[product], product=product).double()
    for number, parameter in enumerate(layer.parameters()):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
    return layer


def gather_and_sum(function, x, edge_attr, weight):
    messages = function(x[EDGES[0]], edge_attr, weight)
    return messages.new_zeros(len(x), messages.shape[1]).index_add(0, EDGES[1], messages)


def test_cg_equals_e3nn():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # e3nn rounds its constants to the default dtype
    try:
        layer = convolution("cg")
        irreps = (layer.irreps_in, layer.irreps_edge, layer.irreps_out)
        theirs = e3nn_o3.TensorProduct(
            *irreps, layer.instructions, shared_weights=False, internal_weights=False, compile_right=False
        )
    finally:
        torch.set_default_dtype(before)
    assert theirs.weight_numel == layer.weight_numel
    testing.assert_same_map(lambda x, y, w: layer(x, y, w, EDGES), lambda *t: gather_and_sum(theirs, *t), inputs(layer))


def test_gaunt_equals_messages_of_interactions():
    layer = convolution("gaunt")
    edge_irreps = as_irreps([(3, ir) for _, ir in layer.irreps_edge])
    product = Interaction(layer.irreps_in, edge_irreps, layer.irreps_out, product="gaunt").double()

    def message(x, edge_attr, weight):
        filters = edge_attr.unsqueeze(2) * weight.view(-1, 3, 3).repeat_interleave(torch.tensor([1, 3, 5]), 1)
        ones = torch.ones(9, dtype=torch.float64)
        weights = torch.cat([layer.map.w_l1.flatten(), ones, layer.map.w_l3.flatten()])
        return product(x, to_flat(filters, edge_irreps), weights)

    testing.assert_same_map(
        lambda x, y, w: layer(x, y, w, EDGES), lambda *t: gather_and_sum(message, *t), inputs(layer)
    )


def test_cg_has_one_sorted_slot_per_path():
    layer = Convolution("3x0e+5x1o", "0e+1o", "0e+1o+1e")
    assert str(layer.irreps_out) == "3x0e+5x0e+3x1o+5x1o+5x1e"
    assert str(layer.irreps_out) == str(layer.irreps_out.sort().irreps)
    assert layer.instructions[1] == (1, 1, 1, "uvu", True)
    assert layer.paths[4] == ((1, -1), (1, -1), (1, 1))
    assert layer.weight_numel == 3 + 5 + 3 + 5 + 5
    assert "5 paths, 21 weights per edge" in repr(layer)


def test_gaunt_has_one_weight_per_edge_degree_and_channel():
    layer = Convolution("4x0e+4x1o", "0e+1o+2e", "2e+0e+1o", product="gaunt")
    assert str(layer.irreps_out) == "4x0e+4x1o+4x2e"
    assert layer.weight_numel == 3 * 4
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {"map.w_l1": (2, 4), "map.w_l3": (3, 4)}
    assert "12 points" in repr(layer)


@pytest.mark.parametrize("product", ["cg", "gaunt"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equivariant(product, dtype):
    layer = convolution(product).to(dtype)
    _, edge_attr, weight = inputs(layer, dtype=dtype)
    generator = torch.Generator().manual_seed(2)
    for inversion in (False, True):
        rotation = random_rotation(generator, inversion)
        x = inputs(layer, dtype=dtype)[0]
        turn = [representation(i, rotation).T.to(dtype) for i in (layer.irreps_in, layer.irreps_edge, layer.irreps_out)]
        turned = layer(x @ turn[0], edge_attr @ turn[1], weight, EDGES)
        expected = layer(x, edge_attr, weight, EDGES) @ turn[2]
        testing.assert_close(turned, expected, 10 * testing.TOLERANCES[dtype].exact)


@pytest.mark.parametrize("product", ["cg", "gaunt"])
def test_twice_differentiable(product):
    layer = Convolution("1x0e+1x1o", "0e+1o", "0e+1o", product=product).double()
    edges = torch.tensor([[0, 1, 1], [1, 0, 0]])
    testing.assert_twice_differentiable(lambda *t: layer(*t, edges), inputs(layer, 2, edges))


@pytest.mark.parametrize("product", ["cg", "gaunt"])
def test_ragged_and_empty(product):
    layer = convolution(product)
    x, edge_attr, weight = inputs(layer)
    out = layer(x, edge_attr, weight, EDGES)
    assert out.shape == (5, layer.irreps_out.dim)
    assert not out[3:].any()  # nothing arrives there
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    testing.assert_close(layer(x, edge_attr[order], weight[order], EDGES[:, order]), out)
    for nodes in (0, 2):
        nothing = layer(x[:nodes], edge_attr[:0], weight[:0], EDGES[:, :0])
        assert nothing.shape == (nodes, layer.irreps_out.dim) and not nothing.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("4x1o", "1o", "1e", "gaunt"), "1o x 1o -> 1e: .* is odd"),
        (("4x0e+3x1o", "1o", "1o", "gaunt"), "irreps_in .* same multiplicity"),
        (("4x1o", "2x1o", "1e", "cg"), "irreps_edge .* multiplicity 1"),
        (("4x1o", "1o", "3o", "cg"), "degree"),
        (("4x1o", "1o", "", "cg"), "empty"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(InputError, match=message):
        Convolution(*arguments)


@pytest.mark.parametrize("product", ["cg", "gaunt"])
def test_wrong_shapes(product):
    layer = convolution(product)
    x, edge_attr, weight = inputs(layer)
    with pytest.raises(InputError, match="edge_weight has shape"):
        layer(x, edge_attr, weight[:, 1:], EDGES)
    with pytest.raises(InputError, match=r"edge_attr has shape \(6, 9\): expected \(7, 9\)"):
        layer(x, edge_attr[1:], weight, EDGES)
