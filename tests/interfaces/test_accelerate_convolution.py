"""e3nn's product between a gather and a sum, and with species, in one operation each: values, derivatives, copies."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from equitensor import testing
from equitensor.errors import InputError
from equitensor.interfaces.e3nn import swap
from equitensor.o3 import as_irreps

as_irreps("0e")
from e3nn import o3  # noqa: E402  e3nn 0.4.4 cannot be imported before as_irreps has been called

pytestmark = pytest.mark.usefixtures("e3nn_in_float64")
SCRIPTING = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:The TorchScript type system")
NODES, EDGES = 5, 11
SENDER = torch.tensor([0, 1, 2, 3, 4, 0, 0, 2, 2, 4, 1])
RECEIVER = torch.tensor([1, 0, 0, 2, 2, 1, 3, 3, 1, 1, 0])  # unsorted, and nothing comes to atom 4


def product(channels=3, mode="uvu"):
    """Unsorted slots, two paths to one of them, degrees whose sign depends on the version of e3nn."""
    c = channels
    irreps = o3.Irreps(f"{c}x1o+{2 * c}x0e+{c}x2e")
    instructions = [(0, 1, 2, mode, True), (1, 1, 1, mode, True), (2, 2, 0, mode, True), (0, 0, 2, mode, True)]
    out = f"{c}x2e+{2 * c}x1o+{c}x1o"
    return o3.TensorProduct(irreps, "0e+1o+2e", out, [(0, 1, 0, mode, True), *instructions[1:]], shared_weights=False)


def operands(theirs, nodes=NODES, edges=EDGES):
    shapes = ((nodes, theirs.irreps_in1.dim), (edges, theirs.irreps_in2.dim), (edges, theirs.weight_numel))
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


def summed(theirs, x, y, w, sender, receiver):
    return x.new_zeros(len(x), theirs.irreps_out.dim).index_add(0, receiver, theirs(x[sender], y, w))


def assert_same(actual, expected, inputs, tolerance=1e-11):
    """Values, first and second derivatives."""
    testing.assert_close(actual.detach(), expected.detach(), tolerance=tolerance)
    firsts = [torch.autograd.grad(z.pow(3).sum(), inputs, create_graph=True) for z in (actual, expected)]
    seconds = [torch.autograd.grad(sum(g.square().sum() for g in first), inputs) for first in firsts]
    for a, b in zip((*firsts[0], *seconds[0]), (*firsts[1], *seconds[1]), strict=True):
        testing.assert_close(a.detach(), b.detach(), tolerance=tolerance)


@pytest.mark.parametrize("channels", [1, 3, 16])
def test_convolution(channels):
    theirs = product(channels)
    mine = swap.convolution(theirs)
    assert mine._fused
    inputs = operands(theirs)
    edge_index = torch.stack([SENDER, RECEIVER])
    assert_same(mine(*inputs, edge_index), summed(theirs, *inputs, SENDER, RECEIVER), inputs)
    none = operands(theirs, edges=0)
    assert not mine(*none, edge_index[:, :0]).any()
    single = [t.detach().float() for t in inputs]
    testing.assert_close(mine.float()(*single, edge_index).double(), mine.double()(*inputs, edge_index).detach(), 1e-5)


def test_a_convolution_of_another_mode():
    theirs = o3.FullyConnectedTensorProduct("2x0e+2x1o", "0e+1o", "3x1o", shared_weights=False)
    mine, inputs = swap.convolution(theirs), operands(theirs)
    assert not mine._fused
    edge_index = torch.stack([SENDER, RECEIVER])
    assert_same(mine(*inputs, edge_index), summed(theirs, *inputs, SENDER, RECEIVER), inputs)


def test_state_dict_signs_and_copies():
    theirs = product()
    for name, block in theirs.named_buffers():
        if name.endswith("_w3j_2_2_2"):
            block.mul_(-1)
    mine, inputs = swap.convolution(theirs), operands(theirs)
    assert {k: v.shape for k, v in mine.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    expected, edge_index = summed(theirs, *inputs, SENDER, RECEIVER), torch.stack([SENDER, RECEIVER])
    other = swap.convolution(product())
    other.load_state_dict(theirs.state_dict())
    for module in (mine, other, copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
        testing.assert_close(module(*inputs, edge_index).detach(), expected.detach())


@SCRIPTING
def test_torchscript():
    mine = swap.convolution(product())
    inputs, stream = operands(mine), io.BytesIO()
    torch.jit.save(torch.jit.script(mine), stream)
    stream.seek(0)
    edge_index = torch.stack([SENDER, RECEIVER])
    testing.assert_close(torch.jit.load(stream)(*inputs, edge_index).detach(), mine(*inputs, edge_index).detach())


def species(count=3, nodes=8):
    kind = torch.arange(nodes) % count
    return kind, torch.nn.functional.one_hot(kind, 9).double()


def species_products(of_species):
    theirs = o3.FullyConnectedTensorProduct("2x0e+3x1o", "4x0e+5x0e", "3x0e+2x1o+1x1o+2x2e")
    return theirs, swap.species_product(theirs, of_species)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_product_with_species(count):
    """One-hot rows, also where all atoms differ."""
    theirs, mine = species_products(False)
    x, (_, y) = torch.randn(8, 11, requires_grad=True), species(count)
    assert_same(mine(x, y), theirs(x, y), [x, theirs.weight])
    assert {k: v.shape for k, v in mine.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    assert mine(x[:0], y[:0]).shape == (0, 22)


def test_product_with_an_embedding_of_species():
    theirs, mine = species_products(True)
    x, table = torch.randn(8, 11, requires_grad=True), torch.randn(3, 9, requires_grad=True)
    kind = species()[0]
    assert_same(mine(x, table[kind]), theirs(x, table[kind]), [x, table, theirs.weight])


def test_gradients_by_the_rows_of_species():
    """Atom by atom, unless the rows are said to come from an embedding."""
    theirs, mine = species_products(False)
    x, y = torch.randn(8, 11), species()[1].requires_grad_()
    assert_same(mine(x, y), theirs(x, y), [y])


def test_linear_takes_neighbouring_slots_together():
    theirs = o3.Linear("2x0e+3x0e+2x1o+1x1o+2x0e", "4x0e+2x1o+1x0e", biases=True)
    torch.nn.init.normal_(theirs.bias)
    mine = swap.linear(theirs)
    assert mine.weight is theirs.weight
    x = torch.randn(6, theirs.irreps_in.dim, requires_grad=True)
    assert_same(mine(x), theirs(x), [x, theirs.weight])
    given = o3.Linear("2x0e+3x0e", "4x0e", path_normalization="path")  # factors that differ between the slots
    x = torch.randn(6, 5, requires_grad=True)
    assert_same(swap.linear(given)(x), given(x), [x, given.weight])
    with pytest.raises(InputError, match="its weights come with the call"):
        swap.linear(o3.Linear("0e", "0e", internal_weights=False))
    with pytest.raises(InputError, match="not a Linear of e3nn"):
        swap.linear(nn.Linear(2, 2))


def test_permuted_weights_are_noticed():
    """The comparison above is worth something: two channels of a path exchanged do not pass it."""
    theirs = product()
    mine, (x, y, w) = swap.convolution(theirs), operands(theirs)
    expected = summed(theirs, x, y, w, SENDER, RECEIVER)
    order = torch.arange(w.shape[1])
    order[:2] = order[:2].flip(0)
    with pytest.raises(AssertionError):
        assert_same(mine(x, y, w[:, order], torch.stack([SENDER, RECEIVER])), expected, [x, y, w])
