import copy
import pickle

import pytest
import torch

from equitensor import testing
from equitensor.errors import InputError
from equitensor.nn import Gate, to_channels_last, to_flat
from equitensor.o3 import as_irreps

as_irreps("0e")
from e3nn import nn as e3nn_nn  # noqa: E402  e3nn 0.4.4 cannot be imported before as_irreps has been called

SILU, SIGMOID, TANH = torch.nn.functional.silu, torch.sigmoid, torch.tanh
CASES = [
    ("4x0e", [SILU], "3x0e", [SIGMOID], "1x1o+2x2e"),
    ("4x0e+2x0o", [SILU, TANH], "3x0e+2x0o", [SIGMOID, TANH], "1x1o+4x2e"),
    ("2x0o", [torch.abs], "4x0o", [TANH], "2x1o+2x1e"),
    ("3x0e+1x0e", [None, SILU], "", [], ""),
    ("", [], "2x0e", [SIGMOID], "2x1o"),
]
COMMON = ("3x0e", SILU, "3x0e+3x0o", [SIGMOID, TANH], "3x1o+3x2e")


@pytest.fixture
def double():
    """float64 while e3nn builds its layers: it rounds its constants to the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def feature(gate, items=5, seed=0):
    shape = (items, gate.irreps_in.dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("case", CASES)
def test_same_numbers_as_e3nn(case, double):
    ours, theirs = Gate(*case), e3nn_nn.Gate(*case)
    assert ours.irreps_in == theirs.irreps_in and ours.irreps_out.simplify() == theirs.irreps_out.simplify()
    testing.assert_same_map(ours, theirs, [feature(ours)])


@pytest.mark.parametrize("case", CASES)
def test_equivariant(case):
    gate = Gate(*case)
    testing.assert_equivariant(gate, [gate.irreps_in], gate.irreps_out)


def test_broken_twins_are_not_equivariant():
    gate = Gate(*CASES[0])
    for twin in (lambda x: TANH(gate(x)), lambda x: gate(x) * torch.arange(1.0, 18.0)):
        with pytest.raises(AssertionError, match="rotation"):
            testing.assert_equivariant(twin, [gate.irreps_in], gate.irreps_out)
    odd = Gate(*CASES[2])
    wrong = "2x0e+2x1o+2x1e"  # odd gates turn the parity of what they gate
    assert str(odd.irreps_out) == "2x0e+2x1e+2x1o"
    with pytest.raises(AssertionError, match="inversion"):
        testing.assert_equivariant(odd, [odd.irreps_in], wrong)


def test_layouts_agree():
    flat, last = Gate(*COMMON), Gate(*COMMON, layout="channels_last")
    assert len(last.irreps_in) == 5 and len(flat.irreps_in) == 4
    x = feature(flat)
    testing.assert_close(to_flat(last(to_channels_last(x, last.irreps_in)), last.irreps_out), flat(x))
    assert last(to_channels_last(x[:0], last.irreps_in)).shape == (0, 9, 3)


def test_copies_and_learns():
    gate = Gate("2x0e", torch.nn.PReLU(), "2x0e", SIGMOID, "2x1o").double()
    assert len(list(gate.parameters())) == 1
    x = feature(gate)
    for other in (copy.deepcopy(gate), pickle.loads(pickle.dumps(gate))):
        assert torch.equal(other(x), gate(x))
    assert "24x0e+4x1o+4x2e -> 16x0e" in repr(Gate("16x0e", SILU, "8x0e", SIGMOID, "4x1o+4x2e"))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (("1x1o", [SILU], "", [], ""), "irreps_scalars is '1x1o': only scalars"),
        (("1x0e", [SILU], "1x1o", [SILU], "1x1o"), "irreps_gates is '1x1o': only scalars"),
        (("1x0e", [SILU], "2x0e", [SILU], "3x1o"), "2 scalars, irreps_gated '3x1o' 3 copies"),
        (("1x0e", [SILU, SILU], "", [], ""), "act_scalars has 2 functions for '1x0e': give 1"),
        (("1x0o", [SILU], "", [], ""), "silu in act_scalars is neither even nor odd"),
        (("", [], "", [], ""), "both empty"),
        (("1x0e", SILU, "2x0e", SILU, "2x1o", "channels_last"), "same multiplicity"),
    ],
)
def test_bad_irreps(case, message):
    with pytest.raises(InputError, match=message):
        Gate(*case)


def test_bad_shape():
    with pytest.raises(InputError, match=r"Gate: x has shape \(2, 3\), expected \(..., 20\) for 7x0e"):
        Gate(*CASES[0])(torch.zeros(2, 3))
