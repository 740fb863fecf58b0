import pytest
import torch

from equitensor.errors import InputError
from equitensor.nn.layout import common_multiplicity, to_channels_last, to_flat
from equitensor.o3 import as_irreps


def test_there_and_back():
    irreps = as_irreps("2x0e+2x1o")
    flat = torch.arange(16.0).view(2, 8)
    last = to_channels_last(flat, irreps)
    assert last[0].tolist() == [[0, 1], [2, 5], [3, 6], [4, 7]]
    assert torch.equal(to_flat(last, irreps), flat)
    assert to_channels_last(flat[:0], irreps).shape == (0, 4, 2)
    assert to_flat(to_channels_last(flat.view(1, 2, 8), irreps), irreps).shape == (1, 2, 8)


@pytest.mark.parametrize("text", ["2x0e+3x1o", "", "0x0e"])
def test_needs_one_multiplicity(text):
    with pytest.raises(InputError, match="same multiplicity"):
        common_multiplicity(as_irreps(text))
