"""Distances expanded in spherical Bessel functions, and their smooth end at the cutoff."""

from torch import Tensor, nn

from equitensor.ops.radial import bessel, envelope


class RadialBasis(nn.Module):
    """b_n(d) and u(d/c) b_n(d), n = 1..num, for distances (e,) in Angstrom: two arrays (e, num).

    The first is for what an envelope multiplies later; the second, C2 at the cutoff and zero beyond, weighs sums
    over neighbours.
    """

    def __init__(self, cutoff: float, num: int = 8) -> None:
        super().__init__()
        self.cutoff, self.num = cutoff, num

    def forward(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        functions = bessel(distance, self.cutoff, self.num)
        return functions, functions * envelope(distance / self.cutoff).unsqueeze(1)

    def extra_repr(self) -> str:
        return f"cutoff={self.cutoff}, num={self.num}"
