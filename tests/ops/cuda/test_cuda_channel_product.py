"""The CUDA kernels of the sparse product of channels, run on the host, against a dense contraction."""

import pytest
import torch

from equitensor.o3.coupling_tensor import coupling_tensor
from equitensor.o3.irreps import as_irreps
from equitensor.ops.channel_product import sparse_entries
from equitensor.ops.cuda import channel_product

LETTERS = ("njc,nkc->nic", "nic,nkc->njc", "nic,njc->nkc")


@pytest.mark.parametrize(
    "items, channels, dtype",
    [
        (0, 3, torch.float64),
        (5, 1, torch.float64),
        (3, 3, torch.float64),
        (2, 16, torch.float32),
        (3, 100, torch.float64),
    ],
)
def test_products_into_all_slots(items, channels, dtype, on_host):
    small, large = (as_irreps(irreps) for irreps in ("0e+1o", "0e+1o+2e"))
    tensor = coupling_tensor([ir for _, ir in small], [ir for _, ir in large], [ir for _, ir in large], False)
    tables, operands = sparse_entries(tensor), [torch.randn(items, d, channels, dtype=dtype) for d in tensor.shape]
    for slot, letters in enumerate(LETTERS):
        x, y = (operands[k] for k in range(3) if k != slot)
        wanted = torch.einsum(f"ijk,{letters}", tensor.to(dtype), x, y)
        for function in (channel_product.product, channel_product.reference):
            result = function(x, y, *tables, list(tensor.shape), slot)
            torch.testing.assert_close(result, wanted, rtol=0, atol=1e-13 if dtype == torch.float64 else 1e-5)
