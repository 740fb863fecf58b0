"""The CUDA kernels of products of items (uuu, uvu), run on the host, against the reference in plain torch."""

import pytest
import torch

from equitensor.interfaces.e3nn import TensorProduct
from equitensor.nn import Interaction
from equitensor.ops import uuu_product as uuu_reference
from equitensor.ops import uvu_product as uvu_reference
from equitensor.ops.cuda import uuu_product, uvu_product
from equitensor.ops.cuda.source import Unsupported

DOUBLE, SINGLE = torch.float64, torch.float32


def assert_same(actual, wanted):
    for ours, theirs in zip(actual, wanted, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        scale = max(1.0, float(theirs.abs().max())) if theirs.numel() else 1.0
        torch.testing.assert_close(ours, theirs, rtol=0, atol={DOUBLE: 1e-12, SINGLE: 1e-5}[ours.dtype] * scale)


def assert_all_orders(kernels, reference, operands, constants):
    x, y, w, g = operands
    tangents = [torch.randn_like(t) for t in (x, y, w)]
    assert_same([kernels.values(x, y, w, *constants)], [reference._values(x, y, w, *constants)])
    for needs in ([True] * 3, [False, True, False]):
        arguments = (x, y, w, g, *needs, *constants)
        assert_same(kernels.gradients(*arguments), reference._gradients(*arguments))
    for there in ([True] * 3, [True, False, False]):
        given = [t if wanted else None for t, wanted in zip(tangents, there, strict=True)]
        arguments = (x, y, w, g, *given, *constants)
        assert_same(kernels.tangents(*arguments), reference._tangents(*arguments))


@pytest.mark.parametrize(
    "items, channels, weights, dtype, channels_last",
    [
        (5, 3, "each item", DOUBLE, True),
        (3, 100, "shared", SINGLE, False),
        (0, 3, "shared", DOUBLE, True),
    ],
)
def test_uuu(items, channels, weights, dtype, channels_last, on_host):
    irreps = f"{channels}x0e+{channels}x1o+{channels}x1e"
    product = Interaction(irreps, irreps, f"{channels}x0e+{channels}x1o", form="paths").map.to(dtype)
    layout = product.layout if channels_last else product.flat_layout
    torch.manual_seed(0)
    x, y, g = (torch.randn(items, sum(sizes) * channels, dtype=dtype) for sizes in layout[:3])
    w = torch.randn(len(product.plan), items if weights == "each item" else 1, channels, dtype=dtype)
    assert_all_orders(uuu_product, uuu_reference, (x, y, w, g), (product.coupling, product.plan, *layout))


def test_one_weight_for_all_channels_of_a_path(on_host):
    product = Interaction(*["3x0e+3x1o"] * 3, form="paths").map.double()
    x, y, g = (torch.randn(4, 12, dtype=DOUBLE) for _ in range(3))
    w = torch.randn(len(product.plan), 1, 1, dtype=DOUBLE)
    assert_all_orders(uuu_product, uuu_reference, (x, y, w, g), (product.coupling, product.plan, *product.layout))


def test_paths_that_share_weights_are_left_to_the_reference(on_host):
    product = Interaction(*["3x0e+3x1o"] * 3, form="paths").map
    plan = product.plan.clone()
    plan[:, 2] = 0
    x, w = torch.randn(4, 12), torch.randn(1, 1, 3)
    with pytest.raises(Unsupported, match="share a row of weights"):
        uuu_product.values(x, x, w, product.coupling, plan, *product.layout)


@pytest.mark.parametrize("items, dtype", [(5, DOUBLE), (0, DOUBLE)])
def test_uvu(items, dtype, on_host):
    instructions = [(0, 0, 0, "uvu", True), (1, 0, 2, "uvu", True), (1, 1, 1, "uvu", True), (0, 1, 3, "uvu", True)]
    product = TensorProduct(
        "4x0e+3x1o", "1x1e+1x0e", "4x1e+3x1o+3x2o+4x0e", instructions, shared_weights=False, internal_weights=False
    )
    product = product.to(dtype)
    assert product._form == "uvu"
    torch.manual_seed(0)
    widths = (product.irreps_in1.dim, product.irreps_in2.dim, product.weight_numel, product.irreps_out.dim)
    operands = [torch.randn(items, width, dtype=dtype) for width in widths]
    constants = (product.coupling, product.plan, widths[3])
    assert_all_orders(uvu_product, uvu_reference, operands, constants)
