"""Models of MACE with everything replaced: numbers, files, checkpoints, calculator, TorchScript (needs mace)."""

import copy
import importlib.util
import warnings
from functools import cache

import pytest
import torch
from ase.build import molecule

from equitensor import testing
from equitensor.errors import InputError
from equitensor.interfaces import accelerate
from equitensor.o3 import as_irreps

if importlib.util.find_spec("mace") is None:
    pytest.skip("mace is not installed: it needs an environment of its own", allow_module_level=True)

as_irreps("0e")
from e3nn.util import jit  # noqa: E402  e3nn 0.4.4 cannot be imported before as_irreps has been called

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mace.calculators import MACECalculator
    from mace.tools.scripts_utils import extract_config_mace_model
    from mace_models import batch_of, results, scale_shift_mace

pytestmark = [
    pytest.mark.usefixtures("e3nn_in_float64"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:The TorchScript type system"),
]
BLOCKS = (
    "RealAgnosticInteractionBlock",
    "RealAgnosticResidualInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
    "RealAgnosticAttResidualInteractionBlock",
    "RealAgnosticResidualNonLinearInteractionBlock",
)


@cache  # e3nn takes seconds to build one
def stock(block="RealAgnosticResidualInteractionBlock", layers=2):
    return scale_shift_mace(block, 8, num_interactions=layers)


def both(*arguments):
    """A model as it is and accelerated, and what was replaced."""
    mine = copy.deepcopy(stock(*arguments))
    return stock(*arguments), mine, accelerate(mine)


def assert_same(mine, theirs, tolerance=1e-10):
    for a, b in zip(mine, theirs, strict=True):
        if b.any():
            testing.assert_close(a, b, tolerance=tolerance)
        else:  # a weight that nothing depends on
            assert not a.any()


@pytest.mark.parametrize("block", BLOCKS)
def test_every_interaction_block(block):
    (theirs, mine, swaps), batch = both(block), batch_of("CH3OH", "H2O", "C2H4")
    assert {f"interactions.{n}.conv_tp" for n in range(2)} <= set(swaps.swapped)
    assert all(module.conv_fusion == "equitensor" for module in mine.interactions)
    assert_same(results(mine, batch), results(theirs, batch))
    assert {k: v.shape for k, v in mine.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


def test_files_and_checkpoints(tmp_path):
    """A model from its file; the accelerated one to a file and back; checkpoints either way."""
    theirs, batch = stock(), batch_of("CH3OH")
    torch.save(theirs, tmp_path / "stock.model")
    mine = torch.load(tmp_path / "stock.model", weights_only=False)
    accelerate(mine)
    expected = results(theirs, batch)
    assert_same(results(mine, batch), expected)
    torch.save(mine, tmp_path / "accelerated.model")
    assert_same(results(torch.load(tmp_path / "accelerated.model", weights_only=False), batch), expected)
    torch.save(mine.state_dict(), tmp_path / "checkpoint.pt")
    other = copy.deepcopy(theirs)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    other.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    assert_same(results(other, batch), expected)
    with torch.no_grad():
        for parameter in mine.parameters():
            parameter.zero_()
    mine.load_state_dict(theirs.state_dict())
    assert_same(results(mine, batch), expected)


def test_modes_precision_and_configuration():
    (theirs, mine, _), batch = both(), batch_of("CH3OH")
    assert not any(m.training for m in mine.eval().modules()) and mine.train().training
    single = {k: v.float() if v.is_floating_point() else v for k, v in batch.items()}
    actual, expected = (copy.deepcopy(m).float()(dict(single))["forces"] for m in (mine, theirs))
    testing.assert_close(actual, expected, tolerance=1e-5)
    testing.assert_close(mine.float().double()(dict(batch))["forces"], theirs(dict(batch))["forces"], tolerance=1e-6)
    actual, expected = extract_config_mace_model(mine), extract_config_mace_model(theirs)
    assert {k: str(v) for k, v in actual.items()} == {k: str(v) for k, v in expected.items()}


def test_calculator():
    energies = []
    for model in both()[:2]:
        atoms = molecule("CH3OH")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            atoms.calc = MACECalculator(models=[copy.deepcopy(model)], device="cpu", default_dtype="float64")
        energies.append(torch.tensor(atoms.get_forces()))
    testing.assert_close(energies[1], energies[0], tolerance=1e-10)


def test_torchscript():
    (theirs, mine, _), batch = both("RealAgnosticInteractionBlock", 1), batch_of("CH3OH")
    expected = theirs(dict(batch))["forces"].detach()
    testing.assert_close(jit.compile(mine)(dict(batch))["forces"].detach(), expected)


def test_a_second_time():
    _, mine, swaps = both()
    assert not swaps.left and "interactions.0.skip_tp" in swaps.swapped
    with pytest.raises(InputError, match="nothing in ScaleShiftMACE was replaced"):
        accelerate(mine)


@pytest.mark.parametrize("layer", ["interactions.1.conv_tp", "interactions.1.skip_tp", "interactions.0.linear"])
def test_permuted_weights_are_noticed(layer):
    """Two weights of one swapped layer exchanged do not pass the comparison."""
    (theirs, mine, _), batch = both(), batch_of("CH3OH")
    owner = mine.get_submodule(layer.replace("conv_tp", "conv_tp_weights"))
    weight = list(owner.parameters())[-1]
    with torch.no_grad():
        weight.copy_(weight.flip(-1))
    with pytest.raises(AssertionError):
        assert_same(results(mine, batch)[:2], results(theirs, batch)[:2], tolerance=1e-6)
