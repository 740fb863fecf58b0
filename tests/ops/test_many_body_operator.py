"""The compiled polynomials of many-body products against plain torch: values, first and second derivatives."""

import pytest
import torch

from equitensor.nn import ManyBody
from equitensor.ops import availability
from equitensor.ops.many_body import element_polynomials

pytestmark = pytest.mark.usefixtures("compiled_operators")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}
BOTH = "{c}x0e+{c}x1o+{c}x1e"
NATURAL = "{c}x0e+{c}x1o+{c}x2e"


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def values(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype).requires_grad_(True)


def layer(irreps, outputs, channels, order, dtype=torch.float64):
    """Three elements, of which `elements` leaves one out."""
    spaces = (text.format(c=channels) for text in (irreps, outputs))
    return ManyBody(*spaces, order, 3, layout="channels_last").to(dtype)


def elements(atoms):
    return torch.tensor([2, 0, 0, 2, 2, 2, 2, 0, 2])[:atoms]


def derivatives(function, inputs, only=None):
    """Values, first derivatives with an output gradient, those of their combination, all first ones or `only` one."""
    z = function()
    first = torch.autograd.grad((z * z.detach().cos()).sum(), inputs, create_graph=True)
    kept = first if only is None else (first[only],)
    second = torch.autograd.grad(sum((f * f.detach().sin()).sum() for f in kept), inputs, materialize_grads=True)
    return [z, *first, *second]


def assert_same(function, in_plain_torch, inputs, only=None):
    actual = derivatives(function, inputs, only)
    expected = in_plain_torch(derivatives, function, inputs, only)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.shape == theirs.shape
        scale = float(theirs.detach().abs().max()) if theirs.numel() else 1.0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[ours.dtype] * max(1.0, scale))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "irreps, outputs, channels, order, atoms",
    [
        (NATURAL, NATURAL, 3, 3, 9),
        (NATURAL, "{c}x0e", 100, 3, 6),
        (NATURAL, "{c}x1o", 16, 2, 1),
        ("{c}x0e+{c}x1o", "{c}x0e+{c}x1o", 1, 4, 7),
        (BOTH, BOTH, 37, 1, 3),
        (BOTH, BOTH, 8, 3, 0),
        ("{c}x0e+{c}x1o+{c}x2e+{c}x3o", "{c}x0e+{c}x3o", 5, 3, 4),
    ],
)
def test_values_and_derivatives(irreps, outputs, channels, order, atoms, dtype, in_plain_torch):
    product = layer(irreps, outputs, channels, order, dtype)
    x, element = values(atoms, sum(product.sizes[0]), channels, dtype=dtype), elements(atoms)
    assert_same(lambda: product(x, element), in_plain_torch, (x, *product.weights))


@pytest.mark.parametrize("only", [0, 1])
def test_second_derivatives_along_one_operand(only, in_plain_torch):
    """The force step has tangents of x alone, the weights' own of the weight alone."""
    product, element = layer(NATURAL, NATURAL, 16, 3), elements(6)
    x = values(6, 9, 16)
    assert_same(lambda: product(x, element), in_plain_torch, (x, *product.weights), only)


def test_any_strides(in_plain_torch):
    product, element = layer(NATURAL, "{c}x1o", 12, 2), elements(5)
    base = values(12, 11, 5)
    for x in (
        base.transpose(0, 2)[:, 1:10],
        base[:, :9].permute(2, 1, 0),
        base[:1, :1].expand(12, 9, 5).permute(2, 1, 0),
    ):
        assert_same(lambda x=x: product(x, element), in_plain_torch, (base, *product.weights))
        (ours,) = torch.autograd.grad(product(x, element).sum(), [base])
        (theirs,) = in_plain_torch(lambda x=x: torch.autograd.grad(product(x, element).sum(), [base]))
        torch.testing.assert_close(ours, theirs)


def test_threads_change_nothing():
    product, element = layer(NATURAL, NATURAL, 64, 3), torch.arange(60) % 3
    x = values(60, 9, 64)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(derivatives(lambda: product(x, element), (x, *product.weights)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def operands(dtype=torch.float64):
    plan = layer("{c}x0e+{c}x1o", "{c}x0e+{c}x1o", 3, 2, dtype).map.polynomials
    reduction = values(7, len(plan.basis), dtype=dtype).detach()
    tables = reduction, plan.basis, plan.terms, plan._sizes
    return values(4, 4, 3, dtype=dtype), values(3, 7, 3, dtype=dtype), elements(4), *tables


def test_paths_that_are_sums_of_weights():
    x, weight, element, reduction, *others = operands()
    actual = derivatives(lambda: element_polynomials(x, weight, element, reduction, *others), (x, weight))
    expected = derivatives(lambda: element_polynomials(x, reduction.T @ weight, element, None, *others), (x, weight))
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_registration(dtype):
    x, weight, *others = operands(dtype)
    g = values(4, 4, 3, dtype=dtype)
    torch.library.opcheck(torch.ops.equitensor.many_body, (x, weight, *others))
    torch.library.opcheck(torch.ops.equitensor.many_body_first, (x, weight, g, *others, [True, True]))
    arguments = [t.detach() for t in (x, weight, g, x, weight)]
    torch.library.opcheck(torch.ops.equitensor.many_body_second, (*arguments, *others, [True, True, True]))


def test_wrong_operands_say_what_was_expected():
    x, weight, element, *tables = operands()
    reduction, basis, table, sizes = tables
    for arguments, message in (
        ((x[:, :3], weight, element, *tables), r"x has shape \[4, 3, 3\], expected \(n, 4, channels\)"),
        ((x, weight[:, 1:], element, *tables), r"weight has shape .* expected \(elements, 7, 3\)"),
        ((x, weight.float(), element, *tables), "x is torch.float64, weight torch.float32, basis torch.float64"),
        ((x, weight, element + 1, *tables), "element 3 is beyond the 3 elements of weight"),
        ((x, weight, element.int(), *tables), r"element is torch.int32 \[4\], expected torch.int64 \[4\]"),
        ((x, weight, element, reduction[:, 1:], *tables[1:]), "reduction is torch.float64"),
        ((x, weight, element, reduction, basis, table[:-1], sizes), "table holds .* integers, expected"),
        ((x, weight, element, reduction, basis, table + 100, sizes), "the table holds"),
        ((x, weight, element, reduction, basis, table, sizes[:-1]), "6 sizes, expected 7"),
    ):
        with pytest.raises(RuntimeError, match=message):
            element_polynomials(*arguments)


def test_other_precisions_are_computed_in_plain_torch():
    product = layer(NATURAL, NATURAL, 4, 2, torch.bfloat16)
    assert not availability.has_kernel(*product.weights)
    assert product(values(3, 9, 4, dtype=torch.bfloat16), elements(3)).dtype == torch.bfloat16
