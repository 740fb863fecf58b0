"""Our tensor products in host programs: errors, TorchScript, torch.compile, torch.export, copies and pickles."""

import copy
import pickle

import pytest
import torch

from equitensor.interfaces import e3nn as ours
from equitensor.o3 import as_irreps

as_irreps("0e")
from e3nn import o3  # noqa: E402  e3nn 0.4.4 cannot be imported before as_irreps has been called
from e3nn.util import jit  # noqa: E402

PLAIN = ("2x0e+3x1o+1x2e+2x2o", "0e+2x1o+1x2e", "2x1o+2e+1e+2x0o+0e+2x3o")
CHANNELS = "3x0e+3x1o+3x2e"
UVU = (
    "2x1o+3x2e",
    "0e+1o+2e",
    "2x1o+3x2e+3x1e",
    [(0, 0, 0, "uvu", True), (1, 2, 1, "uvu", True), (1, 2, 2, "uvu", True)],
)
UUU = (CHANNELS, CHANNELS, CHANNELS, [(0, 1, 1, "uuu", True), (2, 1, 1, "uuu", True), (2, 2, 2, "uuu", True)])
CASES = [
    ("FullyConnectedTensorProduct", ("2x0e+2x1o", "1o", "2x0e+2x1e"), {}),
    ("FullyConnectedTensorProduct", ("2x0e+2x1o", "0e+1o", "2x0e+2x1o"), {"shared_weights": False}),
    ("TensorProduct", UVU, {"shared_weights": False}),
    ("TensorProduct", UVU, {}),
    ("TensorProduct", UUU, {}),
    ("TensorProduct", UUU, {"shared_weights": False}),
    ("FullTensorProduct", ("2x1o", "0e+1o"), {}),
    ("ElementwiseTensorProduct", ("5x1o+5x1e", "10x1e", ["0e", "0o"]), {}),
    ("TensorSquare", ("1x0e+2x1o",), {}),
    ("TensorSquare", ("1x0e+2x1o", "2x0e+2x1e"), {}),
]
NAMES = [f"{name}{index}" for index, (name, *_) in enumerate(CASES)]


pytestmark = pytest.mark.usefixtures("e3nn_in_float64")


@pytest.fixture(params=CASES, ids=NAMES)
def product(request):
    name, args, options = request.param
    return getattr(ours, name)(*args, **options)


def inputs(product, items):
    square, own = isinstance(product, ours.TensorSquare), not product.shared_weights
    spaces = (product.irreps_in1,) if square else (product.irreps_in1, product.irreps_in2)
    operands = [torch.randn(items, irreps.dim, requires_grad=True) for irreps in spaces]
    return [*operands, torch.randn(items, product.weight_numel, requires_grad=True)] if own else operands


def force_step(product, args):
    """The output, the gradients, and the gradients of their squares."""
    z = product(*args)
    first = torch.autograd.grad((z**2).sum(), args, create_graph=True)
    return [z, *first, *torch.autograd.grad(sum((g**2).sum() for g in first), args)]


def assert_same(mine, theirs, tolerance=1e-11):
    for a, b in zip(mine, theirs, strict=True):
        assert a.shape == b.shape and (a - b).abs().max() <= tolerance * b.abs().max()


def test_torchscript(product, tmp_path):
    args = inputs(product, 3)
    expected = force_step(product, args)
    scripted = jit.compile(copy.deepcopy(product))
    assert isinstance(scripted, torch.jit.ScriptModule)
    for _ in range(3):  # the profiling executor optimises what has run
        assert_same(force_step(scripted, args), expected)
    torch.jit.save(scripted, tmp_path / "product.pt")
    assert_same(force_step(torch.jit.load(tmp_path / "product.pt"), args), expected)


def test_torch_compile(product):
    args = inputs(product, 3)
    compiled = torch.compile(product, fullgraph=True, backend="aot_eager")
    z, (expected, *first) = compiled(*args), force_step(product, args)[: 1 + len(args)]
    assert_same([z, *torch.autograd.grad((z**2).sum(), args)], [expected, *first])


def test_torch_export(product):
    args = tuple(a.detach() for a in inputs(product, 3))
    shapes = ({0: torch.export.Dim("items")},) * len(args)
    exported = torch.export.export(product, args, dynamic_shapes=shapes).module()
    more = [a.detach() for a in inputs(product, 5)]
    assert_same([exported(*more)], [product(*more)])


def test_copies_and_dtypes(product):
    args = inputs(product, 2)
    for other in (copy.deepcopy(product), pickle.loads(pickle.dumps(product))):
        assert torch.equal(other(*args), product(*args))
    back = copy.deepcopy(product).float().double()
    assert torch.equal(product.coupling, back.coupling) and torch.equal(product.plan, back.plan)
    assert not any(type(m).__module__.startswith("e3nn") for c in type(back).__mro__ for m in (c, *back.modules()))


WRONG = [
    ("1o", "1o", "1e", [(0, 0, 0, "uvx", True)]),
    ("1o", "1o", "1o", [(0, 0, 0, "uvw", True)]),
    ("1o", "1o", "3e", [(0, 0, 0, "uvw", True)]),
    ("1o", "1o", "1e", [(0, 0, 0, "uvw", False)]),
    ("2x1o", "1o", "1e", [(0, 0, 0, "uvu", True)]),
    ("1o", "2x1o", "1e", [(0, 0, 0, "uvv", True)]),
    ("1o", "2x1o", "1e", [(0, 0, 0, "uuu", True)]),
    ("2x1o", "2x1o", "2x1e", [(0, 0, 0, "uuw", False)]),
    ("2x1o", "2x1o", "2x1e", [(0, 0, 0, "uvuv", True)]),
    ("2x1o", "2x1o", "2x1e", [(0, 0, 0, "uvu<v", True)]),
    ("2x1o", "2x1o", "2x1e", [(0, 0, 0, "u<vw", False)]),
]


@pytest.mark.parametrize("args", WRONG)
def test_wrong_instructions(args):
    with pytest.raises((AssertionError, KeyError)):
        o3.TensorProduct(*args)
    with pytest.raises(ours.InstructionError, match=r"instruction \(0, 0, 0") as caught:
        ours.TensorProduct(*args)
    assert isinstance(caught.value, AssertionError)


def test_wrong_calls():
    mine = ours.FullyConnectedTensorProduct(*PLAIN, internal_weights=False)
    x, y = inputs(mine, 2)
    w = torch.randn(mine.weight_numel)
    with pytest.raises(AssertionError, match=r"x has last dimension 3, expected 26"):
        mine(x[:, :3], y, w)
    with pytest.raises(AssertionError, match="y has last dimension"):
        mine(x, y[:, :3], w)
    with pytest.raises(RuntimeError, match="give the weights"):
        mine(x, y)
    with pytest.raises(AssertionError, match="weight has last dimension"):
        mine(x, y, w[1:])
    with pytest.raises(AssertionError, match="one dimension"):
        mine(x, y, w[None])
    with pytest.raises(AssertionError, match="compile_right"):
        mine.right(y, w)
    with pytest.raises(RuntimeError, match=r"TensorProduct: x is torch\.float32"):
        mine(x.float(), y, w)
    with pytest.raises(ValueError, match="filter_ir_out"):
        ours.FullTensorProduct("1o", "1o", ["vector"])
    with pytest.raises(AssertionError, match="one to one"):
        ours.ElementwiseTensorProduct("2x1o", "3x1o")


def test_scripted_errors_and_right():
    mine = ours.FullyConnectedTensorProduct(*PLAIN, shared_weights=False, compile_right=True)
    scripted, args = torch.jit.script(mine), inputs(mine, 3)
    assert_same([scripted.right(*args[1:])], [mine.right(*args[1:])])
    with pytest.raises((RuntimeError, torch.jit.Error), match="give the weights"):
        scripted(*args[:2])


def test_autocast():
    mine = ours.TensorProduct(*UVU, shared_weights=False).float()
    args = [a.detach().float() for a in inputs(mine, 3)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = mine(args[0], args[1], args[2].bfloat16())
    assert_same([z], [mine(args[0], args[1], args[2].bfloat16().float())], 1e-6)
