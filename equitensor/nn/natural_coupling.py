"""Any interaction as one sparse tensor per path, read off from its products of unit vectors."""

import logging
from functools import cache

import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.nn.product_contract import InteractionMap
from equitensor.nn.product_families import interaction_class
from equitensor.o3.irreps import as_irreps
from equitensor.ops.channel_product import sort_entries
from equitensor.ops.density_product import SparseTensor

_log = logging.getLogger(__name__)
ROUNDING = 1e-13  # of the largest coupling; what lies below is zero
TRIALS = 8  # pairs of random operands by which a product is held to its couplings


def natural_coupling(lmax: int, product: str) -> SparseTensor | None:
    """The product of natural-parity features of degree 0 to lmax with themselves, to the same irreps, in float64.

    Its paths are those of the weights: one for each path of "cg", one in all for "cp", none for "gaunt". None for a
    family whose product is not bilinear, which plain torch computes; a warning says so.

    Raises InputError for a family that says that it is bilinear, and is not.
    """
    return _coupling(lmax, product, interaction_class(product))


@cache
@torch.inference_mode(False)  # what is kept must serve training too
def _coupling(lmax: int, product: str, family: type[InteractionMap]) -> SparseTensor | None:
    if not family.bilinear:
        _log.warning(
            "product=%r has no compiled operators (%s does not say that it is bilinear): plain torch computes it",
            *(product, family.__name__),
        )
        return None
    irreps = as_irreps("+".join(f"{l}{'eo'[l % 2]}" for l in range(lmax + 1)))
    with torch.random.fork_rng(devices=[]):
        layer = family(irreps, irreps, irreps, 1).double()
    count = layer.weight_numel if family.weighted_by_path else 0
    weights = list(torch.eye(count, dtype=torch.float64)) if count else [None]
    d = (lmax + 1) ** 2
    units = torch.eye(d, dtype=torch.float64)
    x, y = units.repeat_interleave(d, dim=0).unsqueeze(2), units.repeat(d, 1).unsqueeze(2)
    entries, symmetric, dense = [], True, []
    with torch.no_grad():
        for path, weight in enumerate(weights):
            tensor = layer(x, y, weight).view(d, d, d)
            tensor = tensor * (tensor.abs() > ROUNDING * tensor.abs().max())
            symmetric &= bool(torch.allclose(tensor, tensor.transpose(0, 1), rtol=0, atol=1e-12))
            places = tensor.nonzero()
            columns = torch.cat([places, torch.full((len(places), 1), path)], dim=1)
            entries.append((columns, tensor[tuple(places.T)]))
            dense.append(tensor)
        _refuse_others(product, layer, torch.stack(dense), count)
    columns, values = (torch.cat(parts) for parts in zip(*entries, strict=True))
    return SparseTensor(*sort_entries(columns, values), symmetric)


def _refuse_others(product: str, layer: InteractionMap, tensor: Tensor, count: int) -> None:
    """Raise InputError unless the layer's products of random operands are those of its couplings (paths, d, d, d)."""
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, TRIALS, tensor.shape[1], generator=random, dtype=torch.float64)
    weight = torch.randn(count, generator=random, dtype=torch.float64) if count else None
    total = tensor.sum(0) if weight is None else torch.einsum("p,pijk->ijk", weight, tensor)
    expected = torch.einsum("ijk,ni,nj->nk", total, x, y)
    off = (layer(x.unsqueeze(2), y.unsqueeze(2), weight).squeeze(2) - expected).abs().max()
    if not off <= 1e-10 * expected.abs().max():
        raise InputError(
            f"product={product!r} says that it is bilinear, but its products are {off:.1e} away from those of its "
            "couplings: it must be linear in x, in y and in weights (path, C)"
        )
