"""The CUDA kernels of weighted powers of densities, run on the host, against the layers in plain torch."""

import pytest
import torch

from equitensor.nn.density_product import DensityInvariants, DensityProduct
from equitensor.ops import density_product_reference
from equitensor.ops.cuda import density_product

# layer, product, lmax, channels, order, dtype
CASES = [
    (DensityProduct, "cg", 1, 3, 3, torch.float64),
    (DensityProduct, "gaunt", 1, 1, 2, torch.float64),
    (DensityInvariants, "cg", 1, 16, 4, torch.float64),
    (DensityInvariants, "gaunt", 1, 100, 3, torch.float32),
    (DensityProduct, "cp", 0, 2, 1, torch.float64),
]
ATOMS = 5


def derivatives(layer, operands, species, g, tangents):
    """Values, gradients along g, and the derivatives of those along a tangent: by autograd."""
    out = layer(operands[0], species).view(g.shape)
    g = g.clone().requires_grad_(True)
    first = torch.autograd.grad((out * g).sum(), operands, create_graph=True)
    value = sum((gradient * t).sum() for gradient, t in zip(first, tangents, strict=True))
    second = torch.autograd.grad(value, [*operands, g], allow_unused=True, materialize_grads=True)
    return out.detach(), [t.detach() for t in first], second


def assert_close(ours, theirs):
    theirs = theirs.view(ours.shape)
    scale = max(1.0, float(theirs.abs().max()))
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}[ours.dtype] * scale
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind, product, lmax, channels, order, dtype", CASES)
def test_all_orders(kind, product, lmax, channels, order, dtype, on_host, in_plain_torch):
    torch.manual_seed(0)
    layer, invariants = kind(3, lmax, channels, order, product).to(dtype), kind is DensityInvariants
    x = torch.randn(ATOMS, (lmax + 1) ** 2, channels, dtype=dtype, requires_grad=True)
    species = torch.tensor([2, 0, 0, 2, 0])
    parameters = dict(layer.named_parameters())
    operands = [x, parameters.pop("coefficients.weight"), *parameters.values()]
    tangents = [torch.randn_like(t) for t in operands]
    g = torch.randn(ATOMS, 1 if invariants else x.shape[1], channels, dtype=dtype)
    out, first, second = in_plain_torch(derivatives, layer, operands, species, g, tangents)

    weight, paths = layer.coefficients.weight.detach(), layer.powers.paths()
    weight = weight.unsqueeze(2) if invariants else weight
    tangent_weight = tangents[1].unsqueeze(2) if invariants else tangents[1]
    mix, tangent_mix = (None, None) if paths is None else (paths.detach(), tangents[2].view(paths.shape))
    constants = (species, *layer.powers.tensor[:2], invariants, layer.powers.tensor.symmetric)
    at = (x.detach(), weight, mix)
    for how in (density_product, density_product_reference):
        assert_close(how.values(*at, *constants), out)
        results = how.first(*at, g, *constants, [True] * 3)
        for ours, theirs in zip(results, first, strict=False):
            assert_close(ours, theirs)
        results = how.second(*at, g, tangents[0], tangent_weight, tangent_mix, *constants, [True] * 4)
        for ours, theirs in zip(results if mix is not None else (*results[:2], results[3]), second, strict=True):
            assert_close(ours, theirs)
        partial = density_product.second(*at, g, None, tangent_weight, None, *constants, [True, False, False, False])
        only = [torch.zeros_like(tangents[0]), tangents[1], *(torch.zeros_like(t) for t in tangents[2:])]
        assert_close(partial[0], in_plain_torch(derivatives, layer, operands, species, g, only)[2][0])
        assert all(t.numel() == 0 for t in partial[1:])
