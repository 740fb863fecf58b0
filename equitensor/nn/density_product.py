"""Powers of the atomic density through any tensor product: as equivariant features, and as invariants."""

import torch
from torch import Tensor, nn

from equitensor.nn.interaction import Interaction
from equitensor.nn.message_passing import AtomicDensity
from equitensor.nn.natural_coupling import natural_coupling
from equitensor.nn.product_families import interaction_class
from equitensor.nn.weights import ElementTable, degree_of_components
from equitensor.ops import message_density
from equitensor.ops.availability import has_kernel
from equitensor.ops.density_product import SparseTensor, density_features, density_invariants, has_product_kernel


class DensityPowers(nn.Module):
    """P_1 = A, P_nu = P_{nu-1} (x) A truncated to degree L, up to nu = order, for (n, (L+1)^2, C) and any product."""

    def __init__(self, lmax: int, channels: int, product: str, order: int) -> None:
        super().__init__()
        self.order = order
        self.tensor = natural_coupling(lmax, product)  # for the kernels, where they can compute it
        irreps = "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(lmax + 1))
        # The channel mixing around it already holds the weights per degree that a Gaunt product would have.
        weighted = interaction_class(product).weighted_by_path and order > 1
        self.interaction = Interaction(
            irreps, irreps, irreps, product, layout="channels_last", internal_weights=weighted
        )

    def forward(self, features: Tensor) -> list[Tensor]:
        return self.interaction.powers(features, self.order)

    def couplings(self, features: Tensor) -> SparseTensor | None:
        """Those of the product, where kernels take these."""
        return self.tensor if self.tensor is not None and has_product_kernel(features, self.tensor) else None

    def paths(self) -> Tensor | None:
        """The weights of the product's paths (paths, C), where it has any."""
        weight = self.interaction.weight
        return None if weight is None else weight.view(-1, self.interaction.channels)


class DensityProduct(nn.Module):
    """B_i = sum_nu w^nu_{z_i,l,c} P_nu(A_i) up to nu = correlation: (n, (L+1)^2, C).

    For random features every term starts with unit variance over the number of terms.
    """

    degree: Tensor

    def __init__(self, num_elements, lmax, channels, correlation, product) -> None:
        super().__init__()
        self.correlation = correlation
        self.powers = DensityPowers(lmax, channels, product, correlation)
        self.coefficients = ElementTable(num_elements, correlation, lmax + 1, channels, std=correlation**-0.5)
        self.register_buffer("degree", degree_of_components(lmax), persistent=False)
        self._equalise()

    @torch.no_grad()
    def _equalise(self) -> None:
        features = torch.randn(256, len(self.degree), self.coefficients.weight.shape[-1])
        for nu, power in enumerate(self.powers(features)):
            square = power.square().mean(dim=(0, 2))
            for l in range(self.coefficients.weight.shape[2]):
                self.coefficients.weight[:, nu, l] /= square[self.degree == l].mean().sqrt()

    def of_messages(self, density: AtomicDensity, messages, radial, harmonics, species, start=None) -> Tensor:
        """self(density(messages, radial, harmonics, start), species), in one operator where there is one."""
        return _of_messages(self, density, messages, radial, harmonics, species, start, False)

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        tensor = self.powers.couplings(features)
        if tensor is not None:
            return density_features(features, self.coefficients.weight, self.powers.paths(), species, tensor)
        coefficients = self.coefficients(species).index_select(2, self.degree).unbind(1)
        powers = self.powers(features)
        total = coefficients[0] * powers[0]
        for weight, power in zip(coefficients[1:], powers[1:], strict=True):
            total = torch.addcmul(total, weight, power)
        return total


class DensityInvariants(nn.Module):
    """sum_nu w^nu_{z_i,c} I_nu(A_i), I_1 = A_00 and I_{a+b} = sum_lm P_a,lm P_b,lm: (n, C).

    The scalars of the Gaunt powers P_nu (up to a factor) from half as many products.
    """

    def __init__(self, num_elements, lmax, channels, correlation, product) -> None:
        super().__init__()
        self.pairs = [(order // 2, order - order // 2) for order in range(2, correlation + 1)]
        self.powers = DensityPowers(lmax, channels, product, max((high for _, high in self.pairs), default=1))
        self.coefficients = ElementTable(num_elements, correlation, channels, std=correlation**-0.5)
        self._equalise((lmax + 1) ** 2, channels)

    @torch.no_grad()
    def _equalise(self, components: int, channels: int) -> None:
        for order, term in enumerate(self.terms(torch.randn(256, components, channels))):
            self.coefficients.weight[:, order] /= term.square().mean().sqrt()

    def terms(self, features: Tensor) -> list[Tensor]:
        """The invariants of order 1 to correlation, each (n, C)."""
        powers = self.powers(features)
        scalars, _ = features.split([1, features.shape[1] - 1], dim=1)
        return [scalars.squeeze(1), *((powers[a - 1] * powers[b - 1]).sum(dim=1) for a, b in self.pairs)]

    def of_messages(self, density: AtomicDensity, messages, radial, harmonics, species, start=None) -> Tensor:
        """self(density(messages, radial, harmonics, start), species), in one operator where there is one."""
        return _of_messages(self, density, messages, radial, harmonics, species, start, True)

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        tensor = self.powers.couplings(features)
        if tensor is not None:
            return density_invariants(features, self.coefficients.weight, self.powers.paths(), species, tensor)
        coefficients = self.coefficients(species).unbind(1)
        return sum(weight * term for weight, term in zip(coefficients, self.terms(features), strict=True))


def _of_messages(
    layer, density: AtomicDensity, messages, radial, harmonics, species, start, invariants: bool
) -> Tensor:
    weights = density.weights()
    tensor = layer.powers.tensor
    if tensor is None or not has_kernel(messages, radial, harmonics, *weights):
        return layer(density(messages, radial, harmonics, start), species)
    weight, powers = layer.coefficients.weight, layer.powers
    weight = weight.unsqueeze(2) if invariants else weight
    operands = (messages, radial, harmonics, *weights, weight, powers.paths())
    products = message_density.message_density(*operands, species, tensor, invariants, start)
    return products.squeeze(1) if invariants else products
