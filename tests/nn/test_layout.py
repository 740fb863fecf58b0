import pytest
import torch

from equitensor import nn
from equitensor.errors import InputError
from equitensor.nn.layout import common_multiplicity, join_irreps, split_irreps, to_channels_last, to_flat
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


def test_public_converters_take_text_and_name_what_is_wrong():
    x = torch.arange(24.0).view(3, 8)
    assert torch.equal(nn.to_flat(nn.to_channels_last(x, "2x0e+2x1o"), "2x0e+2x1o"), x)
    with pytest.raises(InputError, match=r"to_channels_last: x has shape \(3, 8\), expected \(..., 12\) for 3x0e"):
        nn.to_channels_last(x, "3x0e+3x1o")
    with pytest.raises(InputError, match=r"to_flat: x has shape \(3, 8\), expected \(..., 4, 2\)"):
        nn.to_flat(x, "2x0e+2x1o")
    with pytest.raises(InputError, match="same multiplicity"):
        nn.to_channels_last(x, "2x0e+2x0o+1x1o")


def test_blocks_are_the_same_in_both_layouts():
    x = torch.arange(24.0).view(3, 8)
    flat = split_irreps(x, [2, 2], [1, 3], "flat")
    last = split_irreps(to_channels_last(x, "2x0e+2x1o"), [2, 2], [1, 3], "channels_last")
    assert all(torch.equal(a, b) for a, b in zip(flat, last, strict=True))
    assert torch.equal(join_irreps(flat, "flat"), x)


def test_converters_compile():
    flat = torch.arange(24.0).view(3, 8)
    there_and_back = torch.compile(
        lambda x: nn.to_flat(2 * nn.to_channels_last(x, "2x0e+2x1o"), "2x0e+2x1o"), fullgraph=True, backend="eager"
    )
    assert torch.equal(there_and_back(flat), 2 * flat)
