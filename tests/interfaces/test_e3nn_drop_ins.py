"""Our tensor products in the place of e3nn's: values, derivatives, attributes, state dicts."""

import random

import pytest
import torch

from equitensor.interfaces import e3nn as ours
from equitensor.interfaces.e3nn import forms
from equitensor.o3 import as_irreps
from equitensor.ops.tensor_product import MODES

as_irreps("0e")
from e3nn import o3  # noqa: E402  e3nn 0.4.4 cannot be imported before as_irreps has been called

NORMALISATIONS = [(i, p) for i in ("component", "norm", "none") for p in ("element", "path", "none")]
PLAIN = ("2x0e+3x1o+1x2e+2x2o", "0e+2x1o+1x2e", "2x1o+2e+1e+2x0o+0e+2x3o")


pytestmark = pytest.mark.usefixtures("e3nn_in_float64")


def random_product(mode, weighted, seed, lmax=3):
    """Irreps and instructions of two to four paths of one mode, with multiplicities that it allows."""
    rng = random.Random(f"{mode}{weighted}{seed}")
    spaces, instructions = ([], [], []), []
    for _ in range(rng.randint(2, 4)):
        l1, l2 = rng.randint(0, lmax), rng.randint(0, lmax)
        p1, p2 = rng.choice((-1, 1)), rng.choice((-1, 1))
        l3 = rng.randint(abs(l1 - l2), l1 + l2)
        u, v, w = rng.randint(1, 4), rng.randint(1, 4), rng.randint(1, 4)
        u = max(u, 2) if "<" in mode else u
        v = u if mode in ("uuw", "uuu", "uvu<v", "u<vw") else v
        pairs = u * (u - 1) // 2
        w = {"uvu": u, "uvv": v, "uuu": u, "uvuv": u * v, "uvu<v": pairs}.get(mode, w)
        w = 1 if mode == "uuw" and not weighted else w
        for space, entry in zip(spaces, ((u, (l1, p1)), (v, (l2, p2)), (w, (l3, p1 * p2))), strict=True):
            space.append(entry)
        slot = len(instructions)
        instructions.append((slot, slot, slot, mode, weighted, rng.choice((1.0, 0.3))))
    instructions.append((*instructions[0][:5], 2.0))  # a second path to the same output
    spaces[2].append((2, (0, -1)))  # an output that no path reaches
    return *spaces, instructions


def both(name, *args, **kwargs):
    """e3nn's and ours, with the same weights."""
    theirs, mine = getattr(o3, name)(*args, **kwargs), getattr(ours, name)(*args, **kwargs)
    if mine.weight.numel():
        mine.weight.data.copy_(theirs.weight.data)
    return theirs, mine


def inputs(product, *lead, own_weights=False, dtype=torch.float64):
    x, y = (torch.randn(*lead, irreps.dim, dtype=dtype) for irreps in (product.irreps_in1, product.irreps_in2))
    return [x, y, torch.randn(*lead, product.weight_numel, dtype=dtype)] if own_weights else [x, y]


def derivatives(product, args, probe):
    """The output, the first derivatives and those of their squares' sum."""
    args = [a.detach().clone().requires_grad_() for a in args]
    leaves = [*args, *product.parameters()]
    z = product(*args)
    if not z.requires_grad:
        return [z]
    first = torch.autograd.grad((z * probe + z**2).sum(), leaves, create_graph=True, allow_unused=True)
    first = [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(first, leaves, strict=True)]
    squares = sum((g**2).sum() for g in first)
    second = torch.autograd.grad(squares, leaves, allow_unused=True)
    return [z, *first, *(g for g in second if g is not None)]


def assert_same(mine, theirs, tolerance=1e-11):
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert a.shape == b.shape
        if a.numel():
            assert (a - b).abs().max() <= tolerance * max(b.abs().max().item(), 1e-3)


def assert_same_maps(theirs, mine, args):
    probe = torch.randn(*args[0].shape[:-1], theirs.irreps_out.dim)
    assert_same(derivatives(mine, args, probe), derivatives(theirs, args, probe))


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_e3nns_values_and_derivatives(mode, weighted):
    if mode in ("uvw", "u<vw") and not weighted:
        pytest.skip("the mode has weights")
    for seed in range(2):
        product = random_product(mode, weighted, seed)
        right = "<" not in mode  # e3nn's `right` knows no triangular modes
        theirs, mine = both("TensorProduct", *product, compile_right=right)
        args = inputs(theirs, 3)
        assert_same_maps(theirs, mine, args)
        if right:
            assert_same([mine.right(args[1])], [theirs.right(args[1])])
        theirs, mine = both("TensorProduct", *product, shared_weights=False)
        assert_same_maps(theirs, mine, inputs(theirs, 3, own_weights=weighted))


@pytest.mark.parametrize("sizes", [(1, 3, 2), (2, 1, 3), (3, 2, 1)])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_every_order_of_contraction_is_the_same_map(sizes, order, monkeypatch):
    monkeypatch.setattr(forms, "cheapest_order", lambda *_: order)
    u, v, w = sizes
    irreps = (f"{u}x0e+{u}x1o+{u}x2e", f"{v}x0e+{v}x1o+{v}x2e", f"{w}x0e+{w}x1o+{w}x2e+{w}x1e")
    for shared in (True, False):
        theirs, mine = both("FullyConnectedTensorProduct", *irreps, shared_weights=shared)
        assert_same_maps(theirs, mine, inputs(theirs, 2, own_weights=not shared))


@pytest.mark.parametrize("irrep,path", NORMALISATIONS)
def test_normalisations_and_attributes(irrep, path):
    rules = {"irrep_normalization": irrep, "path_normalization": path}
    for mode in ("uvw", "uvu", "u<vw"):
        product = random_product(mode, True, 0)
        variances = [[0.5 + i for i in range(len(space))] for space in product[:3]]
        names = ("in1_var", "in2_var", "out_var")
        theirs, mine = both("TensorProduct", *product, **rules, **dict(zip(names, variances, strict=True)))
        assert [tuple(i) for i in mine.instructions] == [tuple(i) for i in theirs.instructions]
        assert mine.instructions[0]._fields == theirs.instructions[0]._fields
        assert torch.equal(mine.output_mask, theirs.output_mask)
        assert_same([mine(*(args := inputs(theirs, 2)))], [theirs(*args)])
        for name in ("irreps_in1", "irreps_in2", "irreps_out", "weight_numel", "internal_weights", "shared_weights"):
            assert getattr(mine, name) == getattr(theirs, name)
        assert repr(mine) == repr(theirs)


READY_MADE = [
    ("FullyConnectedTensorProduct", PLAIN),
    ("FullTensorProduct", PLAIN[:2]),
    ("FullTensorProduct", (*PLAIN[:2], ["1o", "2e", "0o"])),
    ("ElementwiseTensorProduct", ("2x0e+3x1o+1x2e", "1x1o+2x0e+3x2e")),
    ("ElementwiseTensorProduct", ("5x1o+5x1e", "10x1e", ["0e", "0o"])),
    ("TensorSquare", ("2x0e+3x1o+1x2e",)),
    ("TensorSquare", ("2x0e+3x1o+1x2e", None, ["0e", "2e"])),
    ("TensorSquare", ("3x0e+3x1o+1x2e", "2x0e+2x1e+1x2e+2x1o")),
]


@pytest.mark.parametrize("name,args", READY_MADE)
@pytest.mark.parametrize("rule", ["component", "norm", "none"])
def test_ready_made_products(name, args, rule):
    theirs, mine = both(name, *args, irrep_normalization=rule)
    assert (mine.irreps_in1, mine.irreps_out) == (theirs.irreps_in1, theirs.irreps_out)
    assert [tuple(i) for i in mine.instructions] == [tuple(i) for i in theirs.instructions]
    assert repr(mine) == repr(theirs)
    operands = inputs(theirs, 3)
    assert_same_maps(theirs, mine, operands[:1] if name == "TensorSquare" else operands)


def test_float32_is_as_close_to_float64_as_e3nn():
    for mode in MODES:
        product = random_product(mode, True, 5)
        exact, _ = both("TensorProduct", *product)
        args = inputs(exact, 200)
        torch.set_default_dtype(torch.float32)
        theirs, mine = both("TensorProduct", *product)
        for single in (theirs, mine):
            single.weight.data.copy_(exact.weight.data)
        exact.weight.data.copy_(theirs.weight.data)
        single_args = [a.float() for a in args]
        z = exact(*(a.double() for a in single_args))
        error = (mine(*single_args) - z).norm(), (theirs(*single_args) - z).norm()
        assert error[0] <= 2 * error[1]
        torch.set_default_dtype(torch.float64)


def one_operation(mode, seed=0):
    """Irreps and instructions of a product that one operation computes."""
    rng = random.Random(f"{mode}{seed}")
    first, second = "3x0e+3x1o+3x2e+3x1e", "1x0e+1x1o+1x2e+1x1e" if mode == "uvu" else "3x0e+3x1o+3x2e+3x0o"
    irs = [o3.Irreps(space) for space in (first, second)]
    paths = [(i, j, ir) for i, (_, ir1) in enumerate(irs[0]) for j, (_, ir2) in enumerate(irs[1]) for ir in ir1 * ir2]
    paths = rng.sample(paths, 12)
    out = list(dict.fromkeys(ir for *_, ir in paths))
    slots = {ir: slot for slot, ir in enumerate(out)} if mode == "uuu" else None
    instructions = [
        (i, j, slots[ir] if slots else slot, mode, True, rng.choice((1.0, 0.3)))
        for slot, (i, j, ir) in enumerate(paths)
    ]
    return *irs, [(3, ir) for ir in out] if slots else [(3, ir) for *_, ir in paths], instructions


@pytest.mark.parametrize("irrep,path", NORMALISATIONS)
@pytest.mark.parametrize("mode", ["uvu", "uuu"])
def test_one_operation_for_all_paths(mode, irrep, path):
    rules = {"irrep_normalization": irrep, "path_normalization": path}
    for shared in (False, True):
        theirs, mine = both("TensorProduct", *one_operation(mode), **rules, shared_weights=shared, compile_right=True)
        assert mine._form == ("paths" if shared and mode == "uvu" else mode)
        args = inputs(theirs, 4, own_weights=not shared)
        assert_same_maps(theirs, mine, args)
        assert_same([mine.right(*args[1:])], [theirs.right(*args[1:])])
        nothing = inputs(mine, 2, 0, own_weights=not shared)
        assert mine(*nothing).shape == (2, 0, mine.irreps_out.dim)


def test_one_operation_in_float32():
    for mode in ("uvu", "uuu"):
        exact, _ = both("TensorProduct", *one_operation(mode), shared_weights=False)
        args = [a.float() for a in inputs(exact, 200, own_weights=True)]
        torch.set_default_dtype(torch.float32)
        products = both("TensorProduct", *one_operation(mode), shared_weights=False)
        torch.set_default_dtype(torch.float64)
        truth = _with_gradients(exact, [a.double() for a in args])
        theirs, mine = (
            [(a - b).norm() for a, b in zip(_with_gradients(product, args), truth, strict=True)] for product in products
        )
        assert all(a <= 2 * b for a, b in zip(mine, theirs, strict=True))


def _with_gradients(product, args):
    leaves = [a.detach().requires_grad_() for a in args]
    z = product(*leaves)
    return [z.detach(), *torch.autograd.grad((z * torch.ones_like(z).cumsum(1).sin()).sum(), leaves)]


def test_leading_dimensions_are_broadcast():
    theirs, mine = both("FullyConnectedTensorProduct", *PLAIN, shared_weights=False)
    x, y = torch.randn(2, 1, 4, mine.irreps_in1.dim), torch.randn(2, 3, 1, mine.irreps_in2.dim)
    w = torch.randn(3, 4, mine.weight_numel)
    assert_same([mine(x, y, w)], [theirs(x, y, w)])
    views = list(mine.weight_views(w))
    assert_same(views, list(theirs.weight_views(w)))
    nothing = inputs(mine, 2, 0, own_weights=True)
    assert mine(*nothing).shape == (2, 0, mine.irreps_out.dim)


def test_empty_irreps():
    theirs, mine = both("FullyConnectedTensorProduct", "0e+1e", "", "0e+1e")
    x, y = torch.randn(1, 2, 4), torch.randn(2, 1, 0)
    assert_same([mine(x, y)], [theirs(x, y)])
    args = ("0x0e+1o+2e", "0e+1o+2e", "0x0e+1o", [(0, 0, 0, "uvw", True), (1, 1, 0, "uvw", True)])
    theirs, mine = both("TensorProduct", *args, compile_right=True)
    x, y = inputs(theirs, 4)
    assert_same([mine(x, y), mine.right(y)], [theirs(x, y), theirs.right(y)])


def test_weights_as_a_list_and_as_views():
    theirs, mine = both("FullyConnectedTensorProduct", *PLAIN)
    x, y = inputs(theirs, 3)
    with torch.no_grad():
        for product in (theirs, mine):
            product.weight_view_for_instruction(2).mul_(3.0)
    assert_same([mine(x, y), mine.weight], [theirs(x, y), theirs.weight])
    mine = ours.FullyConnectedTensorProduct(*PLAIN, internal_weights=False)
    assert_same([mine(x, y, list(theirs.weight_views()))], [theirs(x, y)])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mode", MODES)
def test_state_dicts_load_both_ways(mode, seed):
    product = random_product(mode, True, seed, lmax=1)
    theirs, mine = both("TensorProduct", *product, compile_right="<" not in mode, _specialized_code=seed < 3)
    assert {k: v.shape for k, v in mine.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    mine.weight.data.normal_()
    theirs.load_state_dict(mine.state_dict())
    args = inputs(theirs, 2)
    assert_same([theirs(*args)], [mine(*args)])
    theirs.weight.data.normal_()
    mine.load_state_dict(theirs.state_dict())
    assert_same([mine(*args)], [theirs(*args)])


def test_stored_signs_win_over_the_installed_ones():
    theirs, mine = both("FullyConnectedTensorProduct", "1o+2e", "2e", "2o+1o")
    state = theirs.state_dict()
    state["_compiled_main_left_right._w3j_1_2_2"] *= -1
    theirs.load_state_dict(state)
    mine.load_state_dict(state)
    args = inputs(theirs, 2)
    assert_same([mine(*args)], [theirs(*args)])
    state["_compiled_main_left_right._w3j_1_2_2"] *= 2
    with pytest.raises(RuntimeError, match="1, 2, 2"):
        mine.load_state_dict(state)
