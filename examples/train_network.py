"""A small network of equitensor layers learns to tell left from right, with each tensor product.

The label of four different atoms, seen from the first, is the sign of a . (b x c): a pseudoscalar, 0o, opposite for
mirror images. That needs a cross product, which Gaunt has with paths="all" only.
"""

import torch
from torch import nn

from equitensor.errors import InputError
from equitensor.nn import Convolution, Gate, Interaction, Linear, SphericalHarmonics

SIGNAL, PSEUDO = "16x0e+16x1o+16x2e", "16x0e+16x1o+16x2e+16x1e"


class Handedness(nn.Module):
    """Density of the neighbours, its product with itself, a gate, and 1o x 1e -> 0o."""

    def __init__(self, product: str, **options) -> None:
        super().__init__()
        self.harmonics, self.kind = SphericalHarmonics(2), nn.Embedding(4, 16)
        self.convolution = Convolution("16x0e", "0e+1o+2e", SIGNAL, product=product)
        self.radial = nn.Sequential(nn.Linear(1, 16), nn.SiLU(), nn.Linear(16, self.convolution.weight_numel))
        self.other = Linear(SIGNAL, SIGNAL)  # channel by channel, a x a is zero: the second factor is mixed
        self.product = Interaction(SIGNAL, SIGNAL, PSEUDO, product=product, **options)
        self.gate = Gate("16x0e", nn.functional.silu, "48x0e", torch.sigmoid, "16x1o+16x2e+16x1e")
        self.mix = Linear(PSEUDO, self.gate.irreps_in)
        self.last = Interaction(SIGNAL, PSEUDO, "16x0o", product=product, **options)

    def forward(self, pos):  # (clusters, 4, 3) -> (clusters,)
        vectors = (pos[:, :1] - pos[:, 1:]).flatten(0, 1)
        distance = vectors.norm(dim=1, keepdim=True)
        edges = torch.tensor([[1, 2, 3], [0, 0, 0]])[:, None] + 4 * torch.arange(len(pos))[:, None]
        kinds, directions = self.kind(torch.arange(4).repeat(len(pos))), self.harmonics(vectors / distance)
        x = self.convolution(kinds, directions, self.radial(distance), edges.flatten(1))[::4]
        return self.last(x, self.gate(self.mix(self.product(x, self.other(x))))).sum(1)


def main() -> None:
    for product, options in (("gaunt", {}), ("gaunt", {"paths": "all"}), ("cg", {}), ("cp", {})):
        torch.manual_seed(0)
        try:
            model = Handedness(product, **options)
        except InputError as error:
            print(f"{product} {options}: refused, {error}")
            continue
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for step in range(101):
            pos = torch.randn(100, 4, 3)
            output, sign = model(pos), torch.linalg.det(pos[:, 1:] - pos[:, :1]).sign()
            nn.functional.soft_margin_loss(output, sign).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                print(f"{product} {options}: {(output * sign > 0).sum()} % of new clusters right after {step} steps")


if __name__ == "__main__":
    main()
