"""Our symmetric contraction in the place of MACE's: numbers, state dict, other signs, deployment.

Beside mace where it is installed; beside MACE's formula with dense tensors everywhere.
"""

import copy
import importlib.util
import io
import pickle
import warnings

import pytest
import torch

from equitensor import testing
from equitensor.errors import InputError
from equitensor.interfaces import mace as ours
from equitensor.interfaces.mace import SymmetricContraction
from equitensor.o3 import as_irreps

as_irreps("0e")
from e3nn import o3  # noqa: E402  e3nn 0.4.4 cannot be imported before as_irreps has been called
from e3nn.util import jit  # noqa: E402

HAS_MACE = importlib.util.find_spec("mace") is not None
needs_mace = pytest.mark.skipif(not HAS_MACE, reason="mace is not installed: it needs an environment of its own")
SCRIPTING = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:The TorchScript type system")
NODES, CHANNELS, ELEMENTS = 7, 2, 4
BOTH = "2x0e+2x1o+2x1e"


pytestmark = pytest.mark.usefixtures("e3nn_in_float64")


def natural(lmax, channels=CHANNELS):
    return "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(lmax + 1))


def from_mace(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mace import modules
    return getattr(modules, name)


def operands(irreps, mixed=False):
    x = torch.randn(NODES, CHANNELS, sum(ir.dim for _, ir in as_irreps(irreps)))
    one_hot = torch.nn.functional.one_hot(torch.arange(NODES) % 3, ELEMENTS).double()
    return x, torch.rand(NODES, ELEMENTS) if mixed else one_hot


def dense(layer, x, y):
    """MACE's contraction as its formula: out = sum over orders of U w x ... x, with the tensors of the state dict."""
    blocks = []
    for contraction in layer.contractions:
        weights, z = [contraction.weights_max, *contraction.weights], 0
        for order, weight in zip(range(contraction.correlation, 0, -1), weights, strict=True):
            u = getattr(contraction, f"U_matrix_{order}")
            u = u if u.dim() == order + 2 else u[None]
            letters = "wxyz"[:order]
            operands = ",".join(f"bc{letter}" for letter in letters)
            z = z + torch.einsum(f"m{letters}k,{operands},ekc,be->bcm", u, *[x] * order, weight, y)
        blocks.append(z.flatten(1))
    return torch.cat(blocks, dim=1)


def derivatives(layer, x, y):
    """Output, first derivatives and second ones by x and the weights that train, by name."""
    x = x.clone().requires_grad_()
    named = {"x": x} | {name: p for name, p in layer.named_parameters() if p.requires_grad}
    z = layer(x, y)
    generator = torch.Generator().manual_seed(3)
    probe = torch.randn(z.shape, generator=generator)
    first = torch.autograd.grad(
        (z * probe + z**2).sum(), list(named.values()), create_graph=True, materialize_grads=True, allow_unused=True
    )
    squares = sum((g**2).sum() for g in first)
    second = torch.autograd.grad(squares, list(named.values()), materialize_grads=True, allow_unused=True)
    terms = {f"first {name}": g for name, g in zip(named, first, strict=True)}
    return {"value": z} | terms | {f"second {name}": g for name, g in zip(named, second, strict=True)}


def assert_same(mine, theirs, x, y):
    expected, actual = derivatives(theirs, x, y), derivatives(mine, x, y)
    assert list(actual) == list(expected) and len(actual) > 3
    for name, value in expected.items():
        if float(value.detach().abs().max()) > 0:
            testing.assert_close(actual[name].detach(), value.detach(), what=name)
        else:
            assert float(actual[name].detach().abs().max()) == 0, name


CASES = [(natural(lmax), natural(lmax), nu) for lmax in (1, 2, 3) for nu in (1, 2, 3)]
CASES += [(natural(2), natural(3), 2), (BOTH, "2x0e+2x0o+2x1e", 3), (natural(1), "2x0o+2x1o", 2), (BOTH, "2x1e", 4)]


@needs_mace
@pytest.mark.parametrize(("irreps_in", "irreps_out", "correlation"), CASES)
def test_mace_numbers_and_state_dict(irreps_in, irreps_out, correlation):
    theirs = from_mace("SymmetricContraction")(
        as_irreps(irreps_in), as_irreps(irreps_out), correlation, num_elements=ELEMENTS
    )
    mine = SymmetricContraction(irreps_in, irreps_out, correlation, num_elements=ELEMENTS)
    expected, actual = theirs.state_dict(), mine.state_dict()
    assert set(actual) == set(expected)
    for key, value in expected.items():
        assert (actual[key].shape, actual[key].dtype) == (value.shape, value.dtype), key
        if "weights" not in key or "zeroed" in key:
            torch.testing.assert_close(actual[key], value, rtol=0, atol=1e-14)
    mine.load_state_dict(expected)
    trains = {name for name, p in theirs.named_parameters() if p.requires_grad}
    assert trains == {name for name, p in mine.named_parameters() if p.requires_grad}
    for mixed in (False, True):
        assert_same(mine, theirs, *operands(irreps_in, mixed))
    theirs.load_state_dict(mine.state_dict())


@pytest.mark.parametrize(("irreps_in", "irreps_out", "correlation"), [*CASES[:5], *CASES[-4:]])
def test_formula(irreps_in, irreps_out, correlation):
    mine = SymmetricContraction(irreps_in, irreps_out, correlation, num_elements=ELEMENTS)

    class Formula(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.contractions = mine.contractions

        def forward(self, x, y):
            return dense(self, x, y)

    for mixed in (False, True):
        assert_same(mine, Formula(), *operands(irreps_in, mixed))


@pytest.mark.parametrize("wrong", ["sign", "factor", "path", "component", "order"])
def test_formula_rejects_broken_twins(wrong):
    layer = SymmetricContraction(natural(2), natural(1), 3, num_elements=ELEMENTS)
    x, y = operands(natural(2))
    expected, broken = dense(layer, x, y), copy.deepcopy(layer)
    if wrong == "path":
        broken.polynomials.reduction[3] = 0
    elif wrong == "component":
        x = x[:, :, torch.tensor([0, 2, 1, *range(3, 9)])]
    elif wrong == "order":
        with torch.no_grad():
            broken.contractions[0].weights[1].zero_()
    else:
        broken.polynomials.basis *= -1 if wrong == "sign" else 2
    testing.assert_close(layer(*operands_again(layer, x, wrong), y), expected)
    with pytest.raises(AssertionError):
        testing.assert_close(broken(x, y), expected)


def operands_again(layer, x, wrong):
    """x as it was before its components were exchanged."""
    return [x[:, :, torch.tensor([0, 2, 1, *range(3, 9)])] if wrong == "component" else x]


def test_equivariant_with_the_installed_signs():
    layer = SymmetricContraction(BOTH, "2x0e+2x1e+2x2o", 3, num_elements=ELEMENTS)
    y = torch.nn.functional.one_hot(torch.arange(5) % 3, ELEMENTS).double()

    def flat(x):
        blocks = x.split([2, 6, 6], dim=1)
        return layer(torch.cat([b.unflatten(1, (2, -1)) for b in blocks], dim=2), y)

    testing.assert_equivariant(flat, [BOTH], "2x0e+2x1e+2x2o")


def test_coupling_tensors_are_those_of_the_installed_e3nn():
    """The one path of 1o x 2e -> 2o: e3nn's own Wigner 3j, whose sign changed between 0.4.4 and 0.6."""
    irs = tuple(ir for _, ir in as_irreps("1o+2e"))
    tensor = ours.coupling_tensor(irs, as_irreps("2o")[0].ir, 2)
    expected = torch.zeros(5, 8, 8, 2)
    expected[:, :3, 3:, 0] = 5**0.5 * o3.wigner_3j(2, 1, 2, dtype=torch.float64)
    expected[:, 3:, :3, 1] = 5**0.5 * o3.wigner_3j(2, 2, 1, dtype=torch.float64)
    torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("signs", [(1, 2, 2), (1, 1, 2)])
def test_coupling_tensors_that_are_loaded_win(signs, monkeypatch):
    """A state dict saved with the other e3nn's signs keeps its values, in its dtype and in another."""
    irreps = natural(2)
    saved_sign = lambda *degrees: -1 if tuple(sorted(degrees)) == signs else 1  # noqa: E731
    monkeypatch.setattr(ours, "installed_sign", saved_sign)
    ours.coupling_tensor.cache_clear()
    saved = SymmetricContraction(irreps, irreps, 3, num_elements=ELEMENTS)
    monkeypatch.undo()
    ours.coupling_tensor.cache_clear()
    loaded = SymmetricContraction(irreps, irreps, 3, num_elements=ELEMENTS)
    x, y = operands(irreps)
    loaded.load_state_dict(saved.state_dict())
    testing.assert_close(loaded(x, y), saved(x, y))
    assert len(loaded.polynomials.basis) == len(saved.polynomials.basis) == 27
    loaded.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in saved.state_dict().items()})
    testing.assert_close(loaded(x, y), saved(x, y), tolerance=1e-6)
    assert loaded.polynomials.basis.dtype == torch.float64
    testing.assert_close(loaded.float()(x.float(), y.float()), saved.float()(x.float(), y.float()), tolerance=2e-6)


def test_copies():
    layer = SymmetricContraction(natural(2), natural(1), 3, num_elements=ELEMENTS)
    x, y = operands(natural(2))
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        testing.assert_close(copied(x, y), layer(x, y))
        assert set(copied.state_dict()) == set(layer.state_dict())
    fresh = SymmetricContraction(natural(2), natural(1), 3, num_elements=ELEMENTS)
    fresh.load_state_dict(layer.state_dict())
    testing.assert_close(fresh.float().double()(x, y), layer(x, y), tolerance=1e-6)


@SCRIPTING
def test_torchscript():
    layer = SymmetricContraction(natural(2), natural(1), 3, num_elements=ELEMENTS)
    stream = io.BytesIO()
    torch.jit.save(jit.compile(copy.deepcopy(layer)), stream)
    stream.seek(0)
    scripted = torch.jit.load(stream)
    for mixed in (False, True):
        x, y = operands(natural(2), mixed)
        for _ in range(3):  # TorchScript optimises after it has seen the shapes
            assert_same(scripted, layer, x, y)
        with torch.no_grad():
            testing.assert_close(scripted(x[:4], y[:4]), layer(x[:4], y[:4]))


def test_empty_and_derivative_by_y():
    layer = SymmetricContraction(natural(1), natural(1), 2, num_elements=ELEMENTS)
    x, y = operands(natural(1))
    assert layer(x[:0], y[:0]).shape == (0, 8)
    y = y.requires_grad_()
    (actual,) = torch.autograd.grad(layer(x, y).square().sum(), [y])
    (expected,) = torch.autograd.grad(dense(layer, x, y).square().sum(), [y])
    testing.assert_close(actual, expected)


def test_refusals():
    for arguments, message in (
        ({"correlation": 0}, "correlation is 0"),
        ({"num_elements": None}, "num_elements is None"),
        ({"irrep_normalization": "element"}, "normalization 'element'"),
        ({"internal_weights": False}, "holds its weights"),
        ({"irreps_out": "3x0e"}, "multiplicities of"),
    ):
        given = {"irreps_in": "2x0e+2x1o", "irreps_out": "2x0e", "correlation": 2, "num_elements": 3}
        with pytest.raises(InputError, match=message):
            SymmetricContraction(**(given | arguments))
    layer = SymmetricContraction("2x0e+2x1o", "2x0e", 2, num_elements=3)
    x, y = torch.zeros(5, 2, 4), torch.zeros(5, 3)
    for arguments, message in (
        ((x[:, :1], y), r"x has shape \(5, 1, 4\), expected \(n, 2, 4\)"),
        ((x, y[:, :2]), r"y has shape \(5, 2\), expected \(n, 3\)"),
        ((x, y[:4]), "5 atoms in x, 4 in y"),
        ((x.float(), y), "x is torch.float32 .* the layer is torch.float64"),
    ):
        with pytest.raises(InputError, match=message):
            layer(*arguments)
    with pytest.raises(InputError, match="Linear is not a SymmetricContraction"):
        ours.replacement(torch.nn.Linear(2, 2))
