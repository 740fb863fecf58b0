"""The backbone: directional message passing without triplets, with an equivariant product on the atoms.

DimeNet (Gasteiger et al. 2020) sends messages m_ji along the edges j -> i and combines those that meet at an atom
by their angles. Because P_l(u . v) is a sum of Y_lm(u) Y_lm(v), the sum over angles is a density on the atom
followed by a read-out along the outgoing edge; between the two the density is multiplied with itself, which adds
four- and higher-body terms.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from equitensor.nn.harmonics import SphericalHarmonics
from equitensor.nn.interaction import Interaction
from equitensor.nn.neighborhood import Neighborhood
from equitensor.nn.radial_basis import RadialBasis
from equitensor.nn.weights import DegreeLinear, ElementTable, degree_of_components, matrix
from equitensor.ops.density import density
from equitensor.ops.readout import readout

SILU_GAIN = 1.6  # keeps the variance through silu: 1 / std of silu(x) for normal x


class AtomicDensity(nn.Module):
    """A_i,lm = avg^-1/2 sum_j R_l(d_ji) (W m_ji) Y_lm(r_ji), then channels mixed per degree.

    R_l is linear in the enveloped radial basis, so the sum goes to zero smoothly at the cutoff.
    """

    def __init__(self, lmax, channels, edge_channels, num_radial, num_neighbors) -> None:
        super().__init__()
        self.scale = num_neighbors**-0.5
        self.radial = matrix(num_radial, channels, lmax + 1)
        self.message = matrix(edge_channels, channels)
        self.mix = DegreeLinear(lmax, channels, channels)

    def forward(self, messages: Tensor, radial: Tensor, harmonics: Tensor) -> Tensor:
        """messages (n width, c), radial (n width, num_radial), harmonics (n, width, (L+1)^2) -> (n, (L+1)^2, C)."""
        n, width, _ = harmonics.shape
        weights = (radial @ (self.radial * self.scale).transpose(0, 1).flatten(1)).view(
            n, width, *self._columns
        )
        return self.mix(density(weights * (messages @ self.message).view(n, width, 1, -1), harmonics))

    @property
    def _columns(self) -> tuple[int, int]:
        return self.radial.shape[0], self.radial.shape[2]


class DensityProduct(nn.Module):
    """B_i = sum_nu w^nu_{z_i,l,c} P_nu(A_i), P_1 = A and P_nu = P_{nu-1} (x) A truncated to degree L.

    The product is any family of `Interaction`. With random features every P_nu starts with unit variance.
    """

    def __init__(self, num_elements, lmax, channels, correlation, product) -> None:
        super().__init__()
        self.correlation = correlation
        irreps = "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(lmax + 1))
        # The channel mixing before and after already holds the Gaunt product's weights per degree.
        self.interaction = Interaction(
            irreps, irreps, irreps, product, layout="channels_last", internal_weights=product != "gaunt"
        )
        self.coefficients = ElementTable(num_elements, correlation, lmax + 1, channels, std=correlation**-0.5)
        self.register_buffer("degree", degree_of_components(lmax), persistent=False)
        self._equalise()

    @torch.no_grad()
    def _equalise(self) -> None:
        features = torch.randn(256, len(self.degree), self.coefficients.weight.shape[-1])
        for nu, power in enumerate(self.interaction.powers(features, self.correlation)):
            square = power.pow(2).mean(dim=(0, 2))
            for l in range(self.coefficients.weight.shape[2]):
                self.coefficients.weight[:, nu, l] /= square[self.degree == l].mean().sqrt()

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """features (n, (L+1)^2, C), species (n,) -> (n, (L+1)^2, C)."""
        coefficients = self.coefficients(species).index_select(2, self.degree).unbind(1)
        powers = self.interaction.powers(features, self.correlation)
        total = coefficients[0] * powers[0]
        for weight, power in zip(coefficients[1:], powers[1:], strict=True):
            total = torch.addcmul(total, weight, power)
        return total


class EdgeUpdate(nn.Module):
    """m_ji += MLP(m_ji, g_ji, scalars of B_i), g_ji,l = R'_l(d_ji) sum_m B_j,lm Y_lm(r_ji)."""

    def __init__(self, lmax, channels, edge_channels, num_radial) -> None:
        super().__init__()
        self.radial = matrix(num_radial, channels, lmax + 1)
        self.message = matrix(edge_channels, edge_channels)
        self.angular = matrix(channels, edge_channels, lmax + 1, gain=(lmax + 1) ** -0.5)
        self.scalars = matrix(channels, edge_channels)
        self.bias = nn.Parameter(torch.zeros(edge_channels))
        self.out = matrix(edge_channels, edge_channels, gain=SILU_GAIN)
        sign = (-1.0) ** torch.arange(lmax + 1)
        self.register_buffer("sign", sign.view(-1, 1, 1), persistent=False)

    def forward(self, messages, features, scalars, radial, harmonics, rev) -> Tensor:
        n, width, _ = harmonics.shape
        # The row of atom j holds the edges that arrive; the edge j -> i is the reverse of one of them: (-1)^l.
        arriving = readout(features, harmonics).flatten(0, 1).flatten(1)
        weights = radial @ (self.radial * self.sign).transpose(0, 1).flatten(1)
        leaving = arriving.index_select(0, rev) * weights
        hidden = torch.addmm(self.bias, messages, self.message) + leaving @ self.angular.flatten(0, 1)
        hidden = hidden.view(n, width, -1) + (scalars @ self.scalars).unsqueeze(1)
        return torch.addmm(messages, silu(hidden).flatten(0, 1), self.out)


class Directional(nn.Module):
    """Atomic energies (n,), in units of the training forces' scale, and invariant features of each atom.

    Args: num_elements; cutoff in Angstrom; channels C on the atoms; edge_channels c on the edges; lmax, the degree
    of the density; layers, rounds of messages; correlation, the highest power of the density; product, "cg" or
    "gaunt"; num_radial Bessel functions; num_neighbors, their average in the training data.
    """

    def __init__(
        self,
        num_elements: int,
        cutoff: float,
        channels: int = 32,
        edge_channels: int = 32,
        lmax: int = 3,
        layers: int = 2,
        correlation: int = 3,
        product: str = "gaunt",
        num_radial: int = 8,
        num_neighbors: float = 12.0,
    ) -> None:
        super().__init__()
        self.basis = RadialBasis(cutoff, num_radial)
        self.harmonics = SphericalHarmonics(lmax)
        self.sender = ElementTable(num_elements, edge_channels, std=0.5)
        self.receiver = ElementTable(num_elements, edge_channels, std=0.5)
        self.embed = matrix(num_radial, edge_channels)
        self.bias = nn.Parameter(torch.zeros(edge_channels))
        self.embed_out = matrix(edge_channels, edge_channels, gain=SILU_GAIN)
        rounds = range(layers)
        self.densities = nn.ModuleList(
            AtomicDensity(lmax, channels, edge_channels, num_radial, num_neighbors) for _ in rounds
        )
        self.products = nn.ModuleList(
            DensityProduct(num_elements, lmax, channels, correlation, product) for _ in rounds
        )
        self.mixes = nn.ModuleList(DegreeLinear(lmax, channels, channels) for _ in rounds[1:])
        self.updates = nn.ModuleList(
            EdgeUpdate(lmax, channels, edge_channels, num_radial) for _ in rounds[1:]
        )
        self.energies = nn.ParameterList(matrix(channels, 1, gain=0.3) for _ in rounds[1:])
        self.head = matrix(channels, channels, gain=SILU_GAIN)
        self.head_out = matrix(channels, 1, gain=0.3)

    def forward(self, species: Tensor, neighbors: Neighborhood) -> tuple[Tensor, Tensor]:
        """species (n,) -> energies (n,), features (n, layers C)."""
        n, width = neighbors.num_nodes, neighbors.width
        vectors = neighbors.vectors.flatten(0, 1)
        distance = vectors.norm(dim=1)
        harmonics = self.harmonics(vectors / distance.unsqueeze(1)).view(n, width, -1)
        functions, radial = self.basis(distance)
        messages = self._embed(species, neighbors, functions)
        energy, invariants = 0, []
        for t, (to_atoms, product) in enumerate(zip(self.densities, self.products, strict=True)):
            features = product(to_atoms(messages, radial, harmonics), species)
            if t < len(self.updates):
                features = self.mixes[t](features)
            scalars, _ = features.split([1, features.shape[1] - 1], dim=1)
            scalars = scalars.squeeze(1)
            invariants.append(scalars)
            if t < len(self.updates):
                energy = energy + scalars @ self.energies[t]
                messages = self.updates[t](messages, features, scalars, radial, harmonics, neighbors.rev)
        energy = energy + silu(scalars @ self.head) @ self.head_out
        return energy.squeeze(1), torch.cat(invariants, dim=1)

    def _embed(self, species, neighbors, functions) -> Tensor:
        """m_ji = W silu(U b(d_ji) + s_{z_j} + t_{z_i} + bias): (n width, c)."""
        hidden = torch.addmm(self.bias, functions, self.embed)
        hidden = hidden + self.sender(species.index_select(0, neighbors.sender))
        hidden = hidden.view(neighbors.num_nodes, neighbors.width, -1) + self.receiver(species).unsqueeze(1)
        return silu(hidden).flatten(0, 1) @ self.embed_out
