"""Models of NequIP with everything replaced: numbers, copies, state dict, its own calculator (needs nequip)."""

import copy
import importlib.util
import pickle
import warnings

import pytest
import torch
from ase.build import bulk, molecule

from equitensor import testing
from equitensor.errors import InputError
from equitensor.interfaces import accelerate

if importlib.util.find_spec("nequip") is None:
    pytest.skip("nequip is not installed: it needs an environment of its own", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from nequip.data import AtomicDataDict, from_ase
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.utils import basic_transforms
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
SYMBOLS, CUTOFF = ["H", "C", "O", "Si"], 4.0


@pytest.fixture
def build():
    """A builder; NequIP's global settings are put back."""
    before, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    set_global_state()

    def build(**options):
        settings = {"seed": 0, "model_dtype": "float64", "type_names": SYMBOLS, "r_max": CUTOFF, "num_layers": 3}
        settings |= {"l_max": 2, "parity": True, "num_features": 8, "avg_num_neighbors": 8.0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the scales of energies, which do not matter here
            return NequIPGNNModel(**(settings | options))

    yield build
    torch.set_default_dtype(before)
    torch.set_float32_matmul_precision(precision)


def transforms(model):
    return basic_transforms(model.metadata, CUTOFF, SYMBOLS, dict(zip(SYMBOLS, SYMBOLS, strict=True)))


def batch_of(model, *structures):
    graphs = [from_ase(atoms) for atoms in structures]
    for transform in transforms(model):
        graphs = [transform(one) for one in graphs]
    return AtomicDataDict.batched_from_list(graphs)


def results(model, batch):
    """Energies, forces, and the gradients of a loss of both by every parameter."""
    output = model.train()(dict(batch))
    loss = output["total_energy"].square().sum() + output["forces"].square().sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [output["total_energy"].detach(), output["forces"].detach(), *(g for g in gradients if g is not None)]


def assert_same(mine, theirs, tolerance=1e-10):
    for a, b in zip(mine, theirs, strict=True):
        testing.assert_close(a, b, tolerance=tolerance)


@pytest.mark.parametrize("options", [{}, {"parity": False, "l_max": 1}, {"num_features": [8, 4, 2]}])
def test_numbers_copies_and_state_dict(build, options):
    theirs = build(**options)
    mine = copy.deepcopy(theirs)
    swaps = accelerate(mine)
    assert sum("TensorProductScatter" in text for text in swaps.swapped.values()) == 3
    batch = batch_of(theirs, molecule("CH3CH2OH"), molecule("H2O"), molecule("C6H6"))
    expected = results(theirs, batch)
    for model in (mine, copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
        assert_same(results(model, batch), expected)
    assert {k: v.shape for k, v in mine.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    build(**options).load_state_dict(mine.state_dict())
    mine.load_state_dict(theirs.state_dict())
    assert not any(module.training for module in mine.eval().modules())
    assert_same(results(mine, batch), expected)


def test_calculator(build):
    theirs = build().eval()
    mine, energies = copy.deepcopy(theirs), []
    accelerate(mine)
    for model in (theirs, mine):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.1, seed=0)
        atoms.calc = NequIPCalculator(model, device="cpu", transforms=transforms(model))
        energies.append([torch.tensor(atoms.get_forces()), torch.tensor(atoms.get_stress())])
    assert_same(energies[1], energies[0])


def test_float32(build):
    theirs = build(model_dtype="float32")
    mine = copy.deepcopy(theirs)
    accelerate(mine)
    batch = batch_of(theirs, molecule("CH3CH2OH"))
    assert_same(results(mine, batch)[:2], results(theirs, batch)[:2], tolerance=1e-5)


def test_a_model_that_compiles_itself_is_refused(build):
    with pytest.raises(InputError, match="compiled by NequIP: load it uncompiled"):
        accelerate(build(compile_mode="compile"))


def test_permuted_weights_are_noticed(build):
    theirs = build()
    mine = copy.deepcopy(theirs)
    accelerate(mine)
    weight = mine.get_parameter("model.func.layer1_convnet.conv.sc.weight")
    with torch.no_grad():
        weight.copy_(weight.flip(0))
    batch = batch_of(theirs, molecule("CH3CH2OH"))
    with pytest.raises(AssertionError):
        assert_same(results(mine, batch)[:2], results(theirs, batch)[:2], tolerance=1e-6)
