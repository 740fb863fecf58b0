"""Any interaction as one sparse tensor per path, read off from its products of unit vectors."""

from functools import cache

import torch

from equitensor.nn.interaction import Interaction
from equitensor.ops.channel_product import sort_entries
from equitensor.ops.density_product import SparseTensor

ROUNDING = 1e-13  # of the largest coupling; what lies below is zero


@cache
@torch.inference_mode(False)  # what is kept must serve training too
def natural_coupling(lmax: int, product: str) -> SparseTensor:
    """The product of natural-parity features of degree 0 to lmax with themselves, to the same irreps, in float64.

    Its paths are those of the weights: one for each path of "cg", one in all for "cp", none for "gaunt".
    """
    irreps = "+".join(f"{l}{'eo'[l % 2]}" for l in range(lmax + 1))
    layer = Interaction(irreps, irreps, irreps, product, layout="channels_last", internal_weights=False).double()
    weights = [None] if product == "gaunt" else list(torch.eye(layer.weight_numel, dtype=torch.float64))
    units = torch.eye((lmax + 1) ** 2, dtype=torch.float64)
    d = len(units)
    x, y = units.repeat_interleave(d, dim=0).unsqueeze(2), units.repeat(d, 1).unsqueeze(2)
    entries, symmetric = [], True
    with torch.no_grad():
        for path, weight in enumerate(weights):
            tensor = layer.map(x, y, weight).view(d, d, d)
            tensor = tensor * (tensor.abs() > ROUNDING * tensor.abs().max())
            symmetric &= bool(torch.allclose(tensor, tensor.transpose(0, 1), rtol=0, atol=1e-12))
            found = tensor.nonzero()
            columns = torch.cat([found, torch.full((len(found), 1), path)], dim=1)
            entries.append((columns, tensor[tuple(found.T)]))
    columns, values = (torch.cat(parts) for parts in zip(*entries, strict=True))
    return SparseTensor(*sort_entries(columns, values), symmetric)
