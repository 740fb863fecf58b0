"""MACE's own symmetric contractions give way to ours, alone and inside a model (needs mace)."""

import copy
import importlib.util
import warnings

import pytest
import torch

from equitensor import testing
from equitensor.interfaces import mace as ours
from equitensor.o3 import as_irreps

if importlib.util.find_spec("mace") is None:
    pytest.skip("mace is not installed: it needs an environment of its own", allow_module_level=True)

as_irreps("0e")
from e3nn import o3  # noqa: E402  e3nn 0.4.4 cannot be imported before as_irreps has been called
from e3nn.util import jit  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mace import modules
    from mace.modules.symmetric_contraction import SymmetricContraction

pytestmark = [
    pytest.mark.usefixtures("e3nn_in_float64"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:The TorchScript type system"),
]
IRREPS, NODES, ELEMENTS = "2x0e+2x1o+2x2e", 7, 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_replacement(dtype):
    """A module of MACE built in either precision: its parameters, and as few paths as exact tensors give."""
    torch.set_default_dtype(dtype)
    irreps = as_irreps(IRREPS)
    theirs = SymmetricContraction(irreps, irreps, 3, num_elements=ELEMENTS)
    mine = ours.replacement(theirs)
    assert len(mine.polynomials.basis) == 27
    for own, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert own is other
    torch.manual_seed(0)
    x = torch.randn(NODES, 2, 9, dtype=dtype)
    y = torch.nn.functional.one_hot(torch.arange(NODES) % ELEMENTS, ELEMENTS).to(dtype)
    testing.assert_close(mine(x, y).detach(), theirs(x, y).detach())
    flipped = [1.0, -1.0] * 50
    for contraction in theirs.contractions:  # a basis of its own: other signs and another scale
        tensor = contraction.U_matrix_3
        tensor *= 2 * torch.tensor(flipped[: tensor.shape[-1]])
    again = ours.replacement(theirs)
    assert len(again.polynomials.basis) == 27
    testing.assert_close(again(x, y).detach(), theirs(x, y).detach())


def test_accelerate_a_mace_model():
    """Same energy, forces, state dict and parameters; deployed by MACE's own way of TorchScript."""
    model = mace_model()
    batch = mace_batch(model)
    expected = model(dict(batch), training=True)
    state, parameters = model.state_dict(), dict(model.named_parameters())
    names = ours.accelerate(model)
    assert names == [f"products.{n}.symmetric_contractions" for n in range(2)]
    assert set(model.state_dict()) == set(state)
    assert all(parameters[name] is parameter for name, parameter in model.named_parameters())
    actual = model(dict(batch), training=True)
    for name in ("energy", "forces"):
        testing.assert_close(actual[name].detach(), expected[name].detach(), what=name)
    scripted = jit.compile(copy.deepcopy(model))
    again = scripted(dict(batch), training=False)
    testing.assert_close(again["forces"].detach(), expected["forces"].detach(), tolerance=1e-9)
    assert ours.accelerate(model) == []


def mace_model():
    blocks = modules.interaction_classes
    return modules.MACE(
        r_max=4.0,
        num_bessel=4,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=blocks["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=3,
        hidden_irreps=o3.Irreps("4x0e+4x1o"),
        MLP_irreps=o3.Irreps("4x0e"),
        atomic_energies=torch.zeros(3).numpy(),
        avg_num_neighbors=4.0,
        atomic_numbers=[1, 6, 8],
        correlation=3,
        gate=torch.nn.functional.silu,
    )


def mace_batch(model):
    positions = torch.tensor([[0.0, 0.0, 0.0], [1.1, 0.2, 0.0], [0.0, 1.2, 0.3], [0.9, 1.0, 1.1]])
    sender, receiver = (~torch.eye(4, dtype=torch.bool)).nonzero().T
    return {
        "positions": positions,
        "node_attrs": torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0]), 3).double(),
        "edge_index": torch.stack([sender, receiver]),
        "shifts": torch.zeros(12, 3),
        "unit_shifts": torch.zeros(12, 3),
        "cell": torch.zeros(3, 3),
        "batch": torch.zeros(4, dtype=torch.long),
        "ptr": torch.tensor([0, 4]),
        "head": torch.zeros(1, dtype=torch.long),
    }
