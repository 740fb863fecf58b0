"""The signs of the installed e3nn's coupling tensors, so that a network's trained weights keep their meaning.

Between e3nn 0.4.4 and 0.6 nine blocks with degrees up to 4 change sign: (1, 2, 2), (1, 3, 3), (1, 4, 4) and their
permutations. The numbers are ours, exact in float64; only the sign of each block is asked of e3nn, once.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.o3 import as_irreps, wigner_3j


@cache
def installed_sign(l1: int, l2: int, l3: int) -> int:
    """+1 where e3nn's block is ours, -1 where it is minus ours."""
    as_irreps("0e")  # e3nn 0.4.4 cannot be imported by itself under torch >= 2.6
    from e3nn.o3 import wigner_3j as e3nn_wigner_3j

    return relative_sign(e3nn_wigner_3j(l1, l2, l3, dtype=torch.float64), l1, l2, l3)


def relative_sign(block: Tensor, l1: int, l2: int, l3: int) -> int:
    """+1 or -1, what `block` is of our coupling tensor.

    Raises:
        InputError: where it is neither, in any sensible precision.
    """
    ours = wigner_3j(l1, l2, l3)
    block = block.detach().to("cpu", torch.float64)
    for sign in (1, -1):
        if block.shape == ours.shape and (block - sign * ours).abs().max() < 1e-2:
            return sign
    raise InputError(f"the coupling tensor of degrees {l1}, {l2}, {l3} is not the invariant one, in either sign")
