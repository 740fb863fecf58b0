"""e3nn's products inside a network give way to ours, and nothing else changes."""

import copy

import pytest
import torch
from torch import nn

from equitensor.errors import InputError
from equitensor.interfaces import accelerate
from equitensor.interfaces.e3nn.swap import replacement
from equitensor.interfaces.e3nn.tensor_product import TensorProduct
from equitensor.o3 import as_irreps

as_irreps("0e")
from e3nn import o3  # noqa: E402  e3nn 0.4.4 cannot be imported before as_irreps has been called
from e3nn.nn import Gate  # noqa: E402


class Network(nn.Module):
    """Edge convolution, gate, self-interaction and square, in e3nn."""

    def __init__(self):
        super().__init__()
        gate = Gate("4x0e", [torch.tanh], "4x0e", [torch.sigmoid], "2x1o+2x2e")
        self.convolution = o3.FullyConnectedTensorProduct("3x0e+2x1o", "0e+1o+2e", gate.irreps_in, shared_weights=False)
        self.gate = gate
        self.radial = nn.Linear(5, self.convolution.weight_numel)
        self.square = o3.TensorSquare(gate.irreps_out, "2x0e+2x1o")
        self.again = self.square
        self.mix = o3.Linear("2x0e+2x1o", "0e+1o")

    def forward(self, x, y, r):
        z = self.gate(self.convolution(x, y, self.radial(r)))
        return self.mix(self.square(z) + self.again(z))


class Subclass(o3.TensorProduct):
    pass


@pytest.fixture
def network():
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield Network()
    torch.set_default_dtype(before)


@pytest.fixture
def inputs(network):
    return [torch.randn(7, width) for width in (9, 9, 5)]


def test_outputs_gradients_and_state_dict_stay(network, inputs):
    theirs, mine = Network(), network
    theirs.load_state_dict(mine.state_dict())
    weights = dict(mine.named_parameters())
    swaps = accelerate(mine)
    assert sorted(swaps.swapped) == ["again", "convolution", "gate.mul", "mix", "square"]
    assert not swaps.left and "5 modules replaced" in str(swaps)
    assert mine.again is mine.square
    assert not any(isinstance(m, (o3.TensorProduct, o3.Linear)) for m in mine.modules())
    assert all(weights[name] is parameter for name, parameter in mine.named_parameters())
    for a, b in zip(_results(mine, inputs), _results(theirs, inputs), strict=True):
        assert (a - b).abs().max() <= 1e-11 * b.abs().max()
    assert {k: v.shape for k, v in mine.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    theirs.load_state_dict(mine.state_dict())
    assert repr(mine.convolution) == repr(theirs.convolution)


def _results(network, inputs):
    z = network(*inputs)
    return [z, *torch.autograd.grad((z**2).sum(), list(network.parameters()))]


def test_a_copied_network_in_float32_and_evaluation_mode(network, inputs):
    network = copy.deepcopy(network).float().eval()
    single = [x.float() for x in inputs]
    expected = network(*single)
    accelerate(network)
    assert not network.square.training
    assert (network(*single) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_signs_of_the_weights_stay(network):
    theirs = nn.ModuleDict({"product": o3.FullyConnectedTensorProduct("1o+2e", "2e", "2o+1o")})
    for name, block in theirs.named_buffers():
        if name.endswith("_w3j_1_2_2"):
            block.mul_(-1)
    x, y = torch.randn(2, 8), torch.randn(2, 5)
    expected = theirs["product"](x, y)
    accelerate(theirs)
    assert isinstance(theirs["product"], TensorProduct)
    assert (theirs["product"](x, y) - expected).abs().max() < 1e-12


def test_what_is_left_is_named_with_the_reason(network):
    product = ("1o", "1o", "1e", [(0, 0, 0, "uvw", True)])
    hooked = o3.TensorProduct(*product)
    hooked.register_forward_hook(lambda *_: None)
    scripted = torch.jit.script(TensorProduct(*product))
    given = o3.Linear("1o", "1o", internal_weights=False)
    host = nn.ModuleDict({"hooked": hooked, "own": Subclass(*product), "scripted": scripted, "given": given})
    with pytest.raises(InputError, match=r"ModuleDict was replaced: all was left(.|\n)*scripted: accelerate the model"):
        accelerate(host)
    host["mix"] = o3.Linear("1o", "1o")
    swaps = accelerate(host)
    assert list(swaps.swapped) == ["mix"] and set(swaps.left) == {"hooked", "own", "scripted", "given"}
    assert "hooks" in swaps.left["hooked"] and "Subclass" in str(swaps) and "come with the call" in swaps.left["given"]


def test_models_that_cannot_be_accelerated(network):
    with pytest.raises(InputError, match="no module of e3nn, cuEquivariance, MACE or NequIP"):
        accelerate(nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"compiled by torch\.compile: load it uncompiled"):
        accelerate(torch.compile(network))
    with pytest.raises(InputError, match="compiled by TorchScript"):
        accelerate(torch.jit.script(nn.Linear(2, 2)))
    with pytest.raises(InputError, match="str is not a torch module"):
        accelerate("model.pt")


def test_a_product_by_itself(network):
    product = o3.FullTensorProduct("2x1o", "1o")
    with pytest.raises(InputError, match="replacement"):
        accelerate(product)
    x, y = torch.randn(3, 6), torch.randn(3, 3)
    assert (replacement(product)(x, y) - product(x, y)).abs().max() < 1e-14
    with pytest.raises(InputError, match="Linear cannot be replaced"):
        replacement(nn.Linear(2, 2))


def test_a_linear_without_a_path_is_left_as_it_is(network):
    """MACE feeds one features of another width than it says, which e3nn's allows."""
    network.mix = o3.Linear("3x0e", "2x1o")
    swaps = accelerate(network)
    assert type(network.mix) is o3.Linear
    assert "no path" in dict(swaps.left)["mix"]
