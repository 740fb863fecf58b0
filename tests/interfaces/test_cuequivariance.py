"""cuEquivariance's layers, and models of MACE built with them, replaced: numbers, copies, files, checkpoints."""

import copy
import io
import warnings
from functools import cache

import pytest
import torch
from torch import nn

from equitensor import testing
from equitensor.errors import InputError
from equitensor.interfaces import accelerate
from equitensor.interfaces.cuequivariance import replacement
from equitensor.interfaces.e3nn.convolution import Convolution
from equitensor.o3 import as_irreps

as_irreps("0e")  # e3nn 0.4.4 cannot be imported before as_irreps has been called
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    cue = pytest.importorskip("cuequivariance")
    cuet = pytest.importorskip("cuequivariance_torch")
    mace = pytest.importorskip("mace")
    from e3nn.util import jit
    from mace.cli import convert_cueq_e3nn
    from mace.modules.wrapper_ops import CuEquivarianceConfig
    from mace_models import batch_of, results, scale_shift_mace

pytestmark = [
    pytest.mark.usefixtures("e3nn_in_float64"),
    pytest.mark.filterwarnings("ignore:cuequivariance_ops_torch is not available", "ignore:Segments are not the same"),
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor"),  # MACE's converter
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:The TorchScript type system"),
]
LAYOUTS = ("mul_ir", "ir_mul")
SENDER, RECEIVER = torch.tensor([0, 1, 2, 3, 3, 0, 2]), torch.tensor([1, 0, 0, 2, 1, 1, 3])


def irreps(text, group="O3"):
    return cue.Irreps(group, text)


def channelwise(layout="ir_mul", group=None, **weights):
    sides = [irreps(text, group or cue.O3) for text in ("3x1o+3x0e+3x2e", "0e+1o+2e", "0e+1o+2e+2o")]
    return cuet.ChannelWiseTensorProduct(*sides, layout=getattr(cue, layout), **weights)


def of_every_pair(layout):
    return cuet.ChannelWiseTensorProduct(irreps("2x0e+3x1o"), irreps("0e+2x1o"), layout=getattr(cue, layout))


def fully_connected(layout):
    sides = map(irreps, ("2x0e+3x1o+2e", "0e+2x1o", "2x2e+1o+0o"))
    return cuet.FullyConnectedTensorProduct(*sides, layout=getattr(cue, layout))


def linear(layout):
    return cuet.Linear(irreps("2x0e+3x1o+2x1o"), irreps("2x1o+0e+1e"), layout=getattr(cue, layout))


def mixed_layouts(layout):
    other = getattr(cue, LAYOUTS[layout == "mul_ir"])
    return cuet.Linear(irreps("2x0e+3x1o"), irreps("2x1o+0e"), layout_in=getattr(cue, layout), layout_out=other)


def contraction(layout, original_mace=True):
    sides = irreps("2x0e+2x1o"), irreps("2x1o+2x0e")
    return cuet.SymmetricContraction(*sides, 2, 3, layout=getattr(cue, layout), original_mace=original_mace)


def contraction_of_its_own(layout):
    return contraction(layout, original_mace=False)


def operands(layer, items=5):
    """Features of either side, then weights where they are given, or the elements of a contraction."""
    sides = [getattr(layer, name) for name in ("irreps_in", "irreps_in1", "irreps_in2") if hasattr(layer, name)]
    tensors = [torch.randn(items, side.dim, requires_grad=True) for side in sides]
    if layer.weight is None:
        tensors.append(torch.randn(items, layer.weight_numel, requires_grad=True))
    if hasattr(layer, "contraction_degree"):
        tensors.append(torch.tensor([0, 2, 2, 0, 0], dtype=torch.int32))
    return tensors


def derivatives(layer, *given, **indices):
    """The output, its first derivatives and their derivatives, by operands and weights."""
    by = [x for x in (*given, *layer.parameters()) if x.requires_grad]
    z = layer(*given, **indices)
    first = torch.autograd.grad(z.pow(3).sum(), by, create_graph=True)
    return [z, *first, *torch.autograd.grad(sum(g.square().sum() for g in first), by)]


def assert_same(mine, theirs, tolerance=1e-12):
    for a, b in zip(mine, theirs, strict=True):
        if b.any():
            testing.assert_close(a.detach(), b.detach(), tolerance=tolerance)
        else:  # a weight that nothing depends on
            assert not a.any()


def stored(module):
    return {name: value.shape for name, value in module.state_dict().items()}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "build",
    [of_every_pair, fully_connected, linear, mixed_layouts, contraction, contraction_of_its_own],
)
def test_every_layer(build, layout):
    theirs = build(layout)
    mine = replacement(theirs)
    assert mine.weight is theirs.weight and stored(mine) == stored(theirs)
    given = operands(theirs)
    assert_same(derivatives(mine, *given), derivatives(theirs, *given))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_of_every_item_and_indices(layout):
    """Given both indices the product is one operation, also in the layer as it is called outside MACE."""
    theirs = channelwise(layout, shared_weights=False)
    mine = replacement(theirs)
    given = operands(theirs)
    assert isinstance(mine.product, Convolution) and mine.product._fused
    assert_same(derivatives(mine, *given), derivatives(theirs, *given))
    x, y, weight = operands(theirs, items=len(SENDER))
    for nodes in (4, 6):
        given = x[:4].detach().requires_grad_(), y, weight
        indices = {"indices_1": SENDER, "indices_out": RECEIVER, "size_out": nodes}
        assert_same(derivatives(mine, *given, **indices), derivatives(theirs, *given, **indices))


def test_constants_of_a_state_dict_win():
    """Those of e3nn 0.4.4 have another sign for degrees 1, 2, 2: before the replacement, or loaded after it."""
    theirs = channelwise()
    mine, state = replacement(theirs), copy.deepcopy(theirs.state_dict())
    name = next(name for name, value in state.items() if value.shape == (5, 3, 5))
    state[name] *= -1
    given = operands(theirs)
    before = mine(*given)
    for layer in (theirs, mine):
        layer.load_state_dict(state)
    assert (mine(*given) - before).abs().max() > 0.1
    assert_same(derivatives(mine, *given), derivatives(theirs, *given))
    assert_same([replacement(theirs)(*given)], [theirs(*given)])
    state[name] += 1
    with pytest.raises(RuntimeError, match="2e x 1o -> 2o are not the coupling tensor"):
        mine.load_state_dict(state)


def test_a_projection_of_a_state_dict_wins():
    theirs = contraction("mul_ir")
    mine, state, given = replacement(theirs), copy.deepcopy(theirs.state_dict()), operands(theirs)
    state["projection"][0] *= -2
    before = mine(*given)
    for layer in (theirs, mine):
        layer.load_state_dict(state)
    assert (mine(*given) - before).abs().max() > 0.1
    assert_same(derivatives(mine, *given), derivatives(theirs, *given))


class Subclass(cuet.Linear):
    pass


def test_what_is_left_is_named_with_the_reason():
    hooked, patched, kernel = linear("mul_ir"), linear("mul_ir"), linear("mul_ir")
    hooked.register_forward_hook(lambda *_: None)
    patched.forward = hooked.forward
    kernel.f.method = "fused_tp"
    sides = irreps("0+1", cue.SO3), irreps("1", cue.SO3)
    host = nn.ModuleDict(
        {
            "hooked": hooked,
            "patched": patched,
            "kernel": kernel,
            "own": Subclass(irreps("1o"), irreps("1o"), layout=cue.mul_ir),
            "classes": cuet.Linear(irreps("1o"), irreps("1o"), layout=cue.mul_ir, weight_classes=2),
            "rotations": cuet.Linear(*sides, layout=cue.mul_ir),
            "bare": linear("mul_ir").f,
        }
    )
    with pytest.raises(InputError, match=r"all was left(.|\n)*rotations: its group is SO3"):
        accelerate(host)
    host["mix"] = linear("mul_ir")
    swaps = accelerate(host)
    assert list(swaps.swapped) == ["mix"] and set(swaps.left) == set(host) - {"mix"}
    words = {"hooked": "hooks", "patched": "forward", "kernel": "GPU", "own": "Subclass", "classes": "classes"}
    assert all(word in swaps.left[name] for name, word in {**words, "bare": "polynomial"}.items())
    with pytest.raises(InputError, match=r"cuequivariance\.replacement"):
        accelerate(linear("mul_ir"))
    with pytest.raises(InputError, match="Subclass cannot be replaced: Subclass is a class of its own"):
        replacement(host["own"])


@cache  # seconds to build one
def stock(layout, block="RealAgnosticResidualInteractionBlock", group="O3_e3nn", reduced=False):
    config = CuEquivarianceConfig(enabled=True, layout=layout, group=group, optimize_all=True)
    return scale_shift_mace(block, 4, use_reduced_cg=reduced, cueq_config=config)


MODELS = [
    ("ir_mul",),
    ("mul_ir", "RealAgnosticInteractionBlock", "O3", True),
    ("ir_mul", "RealAgnosticResidualNonLinearInteractionBlock", "O3_e3nn", True),
]


@pytest.mark.parametrize("given", MODELS, ids=lambda given: "-".join(map(str, given)))
def test_models_of_mace(given):
    theirs, batch = stock(*given), batch_of("CH3OH", "H2O", "C2H4")
    mine = copy.deepcopy(theirs)
    weights = dict(mine.named_parameters())
    swaps = accelerate(mine)
    layers = {f"interactions.{n}.{key}" for n in range(2) for key in ("conv_tp", "skip_tp", "linear_up")}
    assert layers | {"products.1.symmetric_contractions", "readouts.0.linear"} <= set(swaps.swapped)
    assert not swaps.left and all(block.conv_fusion == "equitensor" for block in mine.interactions)
    left = {type(m).__name__ for m in mine.modules() if type(m).__module__.startswith("cuequivariance_torch")}
    assert left <= {"TransposeIrrepsLayout", "TransposeSegments"}
    assert all(weights[name] is parameter for name, parameter in mine.named_parameters())
    assert stored(mine) == stored(theirs)
    assert_same(results(mine, batch), results(theirs, batch), tolerance=1e-10)
    with pytest.raises(InputError, match="no module of"):
        accelerate(mine)


def test_copies_files_and_checkpoints(tmp_path):
    theirs, batch = stock(*MODELS[0]), batch_of("CH3OH")
    mine = copy.deepcopy(theirs)
    accelerate(mine)
    expected = results(theirs, batch)
    assert_same(results(copy.deepcopy(mine), batch), expected, tolerance=1e-10)
    torch.save(mine, tmp_path / "mine.model")
    assert_same(results(torch.load(tmp_path / "mine.model", weights_only=False), batch), expected, tolerance=1e-10)
    other = copy.deepcopy(theirs)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    for target, source in ((other, mine), (mine, theirs)):
        target.load_state_dict(copy.deepcopy(source.state_dict()))
        assert_same(results(target, batch), expected, tolerance=1e-10)


def test_precision():
    """In float32 and back; a layer without weights of its own takes the precision of the model."""
    theirs, batch = stock(*MODELS[0]), batch_of("CH3OH")
    single = {k: v.float() if v.is_floating_point() else v for k, v in batch.items()}
    mine = copy.deepcopy(theirs)
    accelerate(mine)
    after = copy.deepcopy(theirs).to(torch.float32)
    accelerate(after)
    expected = theirs(dict(batch))["forces"].float()
    for model in (copy.deepcopy(mine).to(torch.float32), after):
        testing.assert_close(model(dict(single))["forces"], expected, tolerance=1e-5)
    back = mine.to(torch.float32).to(torch.float64)
    testing.assert_close(back(dict(batch))["forces"], theirs(dict(batch))["forces"], tolerance=1e-6)


def test_back_to_e3nn_by_the_converter_of_mace():
    theirs, batch = stock(*MODELS[0]), batch_of("CH3OH")
    mine = copy.deepcopy(theirs)
    accelerate(mine)
    converted = convert_cueq_e3nn.run(mine)
    assert_same(results(converted, batch)[:2], results(theirs, batch)[:2], tolerance=1e-10)


def test_torchscript_of_a_layer():
    for theirs in (
        channelwise(shared_weights=False),
        fully_connected("ir_mul"),
        linear("ir_mul"),
        contraction("mul_ir"),
    ):
        mine, given = replacement(theirs), operands(theirs)
        buffer = io.BytesIO()
        torch.jit.save(jit.compile(mine), buffer)
        buffer.seek(0)
        assert_same([torch.jit.load(buffer)(*given)], [theirs(*given)])
