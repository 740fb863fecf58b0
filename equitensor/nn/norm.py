"""`Norm`: the length of each irrep, an invariant. `LayerNorm`: features brought to unit size, each degree by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.nn.layout import check_kind, check_shape, component_sizes, feature_shape, join_irreps, split_irreps
from equitensor.o3.irreps import IrrepsLike, as_irreps


class Norm(nn.Module):
    """|x| of every copy of every irrep, (sum_m x_m^2)^(1/2), as e3nn's `o3.Norm`.

    First and second derivatives at x = 0 are zero, where the plain square root gives NaN.

    Args:
        squared: give |x|^2.
        layout: "flat" takes (..., irreps.dim) to (..., number of copies); "channels_last" (..., d, C) to
            (..., number of irreps, C).
    Attributes:
        irreps_in: of the feature.
        irreps_out: one 0e for each copy.
    """

    def __init__(self, irreps_in: IrrepsLike, squared: bool = False, layout: str = "flat") -> None:
        super().__init__()
        self.irreps_in, self.squared, self.layout = _not_empty("Norm", irreps_in), squared, layout
        self.shape_in = feature_shape(self.irreps_in, layout, "irreps_in")
        scalars = as_irreps([(mul, (0, 1)) for mul, _ in self.irreps_in])
        self.irreps_out = scalars.simplify() if layout == "flat" else scalars
        self._counts, self._sizes = [mul for mul, _ in self.irreps_in], component_sizes(self.irreps_in)

    def forward(self, x: Tensor) -> Tensor:
        """A feature of irreps_in to its lengths.

        Raises:
            InputError: a shape that does not fit.
        """
        check_shape("Norm", "x", x, self.shape_in, f"{self.irreps_in}, layout {self.layout}")
        blocks = split_irreps(x, self._counts, self._sizes, self.layout)
        lengths = join_irreps([b.square().sum(dim=-2, keepdim=True) for b in blocks], self.layout)
        return lengths if self.squared else _root(lengths)

    def extra_repr(self) -> str:
        return f"{self.irreps_in} -> {self.irreps_out}, layout={self.layout!r}"


class LayerNorm(nn.Module):
    """x_l -> w x_l / (<x_l^2> + eps)^(1/2), the mean over channels and components of one irrep of one item.

    Even scalars lose their mean over channels first and get a bias, so a single 0e channel keeps its bias only. This is
    the equivariant layer norm of Liao and Smidt (Equiformer, ICLR 2023). Items do not see each other, so energies stay
    size-extensive, and eps keeps it smooth at x = 0.

    Args:
        eps: the smallest mean square that is brought to one.
        affine: the parameters `weight` (one per copy, ones) and `bias` (one per 0e copy, zeros).
        layout: "flat" takes e3nn's (..., irreps.dim), "channels_last" (..., d, C).
    Raises:
        InputError: no irreps, eps that is not positive, an unknown layout.
    """

    def __init__(self, irreps: IrrepsLike, eps: float = 1e-5, affine: bool = True, layout: str = "flat") -> None:
        super().__init__()
        self.irreps_in, self.layout, self.eps = _not_empty("LayerNorm", irreps), layout, eps
        if not eps > 0:
            raise InputError(f"LayerNorm: eps is {eps}: give a small positive number such as 1e-5")
        self.irreps_out = self.irreps_in
        self.shape_in = feature_shape(self.irreps_in, layout, "irreps")
        self._counts, self._sizes = [mul for mul, _ in self.irreps_in], component_sizes(self.irreps_in)
        self._even_scalars = [ir.is_scalar() for _, ir in self.irreps_in]
        self._bias_sizes = [mul for mul, ir in self.irreps_in if ir.is_scalar()]
        self.weight = nn.Parameter(torch.ones(sum(self._counts))) if affine else None
        self.bias = nn.Parameter(torch.zeros(sum(self._bias_sizes))) if affine and self._bias_sizes else None

    def forward(self, x: Tensor) -> Tensor:
        """A feature to one of the same irreps and layout.

        Raises:
            InputError: a shape, dtype or device that does not fit.
        """
        check_shape("LayerNorm", "x", x, self.shape_in, f"{self.irreps_in}, layout {self.layout}")
        blocks = split_irreps(x, self._counts, self._sizes, self.layout)
        blocks = [self._scaled(b, even) for b, even in zip(blocks, self._even_scalars, strict=True)]
        if self.weight is not None:
            check_kind("LayerNorm", x, self.weight)
            blocks = [b * w for b, w in zip(blocks, self.weight.split(self._counts), strict=True)]
        if self.bias is not None:
            biases = iter(
                self.bias.split([c for c, even in zip(self._counts, self._even_scalars, strict=True) if even])
            )
            blocks = [b + next(biases) if even else b for b, even in zip(blocks, self._even_scalars, strict=True)]
        return join_irreps(blocks, self.layout)

    def _scaled(self, block: Tensor, even_scalar: bool) -> Tensor:
        if even_scalar:
            block = block - block.mean(dim=-1, keepdim=True)
        return block * (block.square().mean(dim=(-2, -1), keepdim=True) + self.eps).rsqrt()

    def extra_repr(self) -> str:
        return f"{self.irreps_in}, eps={self.eps}, affine={self.weight is not None}, layout={self.layout!r}"


def _not_empty(layer: str, irreps):
    """Irreps without entries of multiplicity zero.

    Raises:
        InputError: where nothing is left.
    """
    kept = as_irreps([(mul, ir) for mul, ir in as_irreps(irreps) if mul])
    if not kept.dim:
        raise InputError(f"{layer}: the irreps are '{irreps}': give at least one")
    return kept


def _root(square: Tensor) -> Tensor:
    """Square root whose derivatives are zero at zero."""
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())
