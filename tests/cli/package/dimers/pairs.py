"""A backbone: a pair potential with charges, which make a dipole."""

from typing import Annotated, final

from pydantic import Field
from torch import Tensor

from equitensor.models import Backbone
from equitensor.nn.neighborhood import Neighborhood
from equitensor.nn.radial_basis import RadialBasis
from equitensor.nn.weights import ElementTable
from equitensor.settings import Count


@final
class Pairs(Backbone):
    """e_i = sum_j w_{z_i} . b(d_ij), mu_i = sum_j q_{z_i} . b(d_ij) r_ij."""

    def __init__(
        self,
        num_elements: int,
        cutoff: float,
        num_radial: Annotated[Count, Field(description="Bessel functions")] = 8,
        num_neighbors: float = 12.0,
    ) -> None:
        super().__init__()
        self.basis = RadialBasis(cutoff, num_radial)
        self.energies = ElementTable(num_elements, num_radial, std=num_neighbors**-0.5)
        self.charges = ElementTable(num_elements, num_radial, std=0.1)

    def forward(self, species: Tensor, neighbors: Neighborhood) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        _, functions = self.basis(neighbors.vectors.flatten(0, 1).norm(dim=1))  # zero in empty slots
        rows = functions.view(neighbors.num_nodes, neighbors.width, -1)
        features = rows.sum(1)
        charges = (rows * self.charges(species)[:, None]).sum(2, keepdim=True)
        dipoles = (charges * neighbors.vectors).sum(1)
        return (self.energies(species) * features).sum(1), features, {"dipole": dipoles}
