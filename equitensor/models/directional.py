"""The backbone: directional message passing without triplets, with an equivariant product on the atoms.

DimeNet (Gasteiger et al. 2020) sends messages m_ji along the edges j -> i and combines those that meet at an atom by
their angles. Because P_l(u . v) is a sum of Y_lm(u) Y_lm(v), the sum over angles is a density on the atom followed by
a read-out along the outgoing edge. Between the two the density is multiplied with itself, for many-body terms.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, final

import torch
from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.models.backbone import Backbone, EvaluatedBackbone, GrowingBackbone
from equitensor.nn.density_product import DensityInvariants, DensityPowers, DensityProduct
from equitensor.nn.edge_geometry import EdgeGeometry
from equitensor.nn.message_passing import SILU_GAIN, AtomicDensity, EdgeUpdate
from equitensor.nn.neighborhood import Edges, Neighborhood
from equitensor.nn.product_families import FAMILIES, interaction_class
from equitensor.nn.radial_basis import smoothness_prior
from equitensor.nn.weights import ElementTable, begin_block, matrix
from equitensor.ops.availability import has_kernel
from equitensor.ops.edge_embedding import edge_embedding
from equitensor.ops.radial import envelope
from equitensor.ops.silu import silu
from equitensor.settings import Count, CountFromZero


def _interaction(product: str) -> str:
    """The name of a family with an interaction. Raises ValueError for another."""
    if product not in FAMILIES:
        raise ValueError(f"must be one of {', '.join(FAMILIES)}")
    try:
        interaction_class(product)
    except InputError as error:
        raise ValueError(f"cannot be used: {error}") from None
    return product


Product = Annotated[
    str,
    AfterValidator(_interaction),
    Field(description="tensor product: cg, gaunt, cp, or one from an installed package"),
]


class EdgeEmbedding(nn.Module):
    """m_ji = W silu(U b(d_ji) + s_{z_j} + t_{z_i} + bias): (slots, edge_channels)."""

    prior: Tensor

    def __init__(self, num_elements: int, edge_channels: int, num_radial: int, smoothness: float) -> None:
        super().__init__()
        self.register_buffer("prior", smoothness_prior(num_radial, smoothness), persistent=False)
        self.sender = ElementTable(num_elements, edge_channels, std=0.5)
        self.receiver = ElementTable(num_elements, edge_channels, std=0.5)
        self.radial = matrix(num_radial, edge_channels)
        self.bias = nn.Parameter(torch.zeros(edge_channels))
        self.out = matrix(edge_channels, edge_channels, gain=SILU_GAIN)

    def forward(self, species: Tensor, edges: Edges, functions: Tensor) -> Tensor:
        tables = (self.sender.weight, self.receiver.weight)
        weights = (self.radial * self.prior, *tables, self.bias, self.out)
        return edge_embedding(functions, *weights, species, edges.sender, edges.receiver)


class Round(nn.Module):
    """Messages -> density -> its powers -> energy and new messages."""

    def __init__(self, num_elements, sizes, gathered, smoothness, correlation, product):
        super().__init__()
        lmax, channels, edge_channels, num_radial, _ = sizes
        self.density = AtomicDensity(*sizes, gathered, smoothness)
        self.product = DensityProduct(num_elements, lmax, channels, correlation, product)
        self.energy = matrix(channels, 1, gain=0.3)
        self.update = EdgeUpdate(lmax, channels, edge_channels, num_radial, smoothness)

    def forward(self, messages, species, radial, weights, harmonics, rev, start) -> tuple[Tensor, Tensor, Tensor]:
        """New messages (slots, c), energies (n, 1), scalar features (n, C); the density is of `weights`."""
        features = self.product.of_messages(self.density, messages, weights, harmonics, species, start)
        scalars, _ = features.split([1, features.shape[1] - 1], dim=1)
        scalars = scalars.squeeze(1)
        messages = self.update(messages, features, radial, harmonics, rev, start)
        return messages, scalars @ self.energy, scalars


@final
class Directional(EvaluatedBackbone, GrowingBackbone):
    """Atomic energies (n,), in units of the training forces' scale, and invariant features of each atom.

    Args: num_elements; cutoff in Angstrom; channels C on the atoms; edge_channels c on the edges; lmax, the degree
    of the density; layers, densities in all, with messages updated between them; correlation, the highest power of
    the density; product, "cg", "gaunt" or "cp"; num_radial Bessel functions, the n-th weighted by
    n^-smoothness; num_neighbors, their average in the training data; normalized: densities are averages over the
    neighbours rather than sums, so that what an atom gains by the kinds of its neighbours does not press on the cell.
    """

    PARTS: ClassVar[Mapping[str, tuple[str, ...]]] = {  # the first pattern that matches counts
        "radial": ("*.radial",),
        "embedding": ("embedding.*",),
        "products": ("rounds.*.product.*", "invariants.*"),
        "readout": ("rounds.*.energy", "mix", "head", "head_out"),
        "interactions": ("rounds.*", "density.*"),
    }
    AMONG_MANY: ClassVar[Mapping[str, Any]] = {"normalized": True}
    GROWING: ClassVar[tuple[str, ...]] = ("channels", "edge_channels", "layers")

    def __init__(
        self,
        num_elements: int,
        cutoff: PositiveFloat,
        channels: Annotated[Count, Field(description="channels of the atomic features")] = 32,
        edge_channels: Annotated[Count, Field(description="channels of the messages")] = 32,
        lmax: Annotated[CountFromZero, Field(description="maximum degree of the density")] = 3,
        layers: Annotated[Count, Field(description="number of densities")] = 2,
        gathered: Annotated[
            Count | None, Field(description="channels summed on atoms before mixing; null: twice `channels`")
        ] = None,
        correlation: Annotated[Count, Field(description="maximum power of the density")] = 3,
        product: Product = "gaunt",
        num_radial: Annotated[Count, Field(description="number of Bessel functions")] = 8,
        smoothness: Annotated[
            NonNegativeFloat, Field(description="s: the n-th Bessel function is weighted by n^-s")
        ] = 1.0,
        num_neighbors: float = 12.0,
        normalized: Annotated[
            bool | None,
            Field(description="average over neighbours instead of summing; null: only for data with many elements"),
        ] = None,
    ) -> None:
        super().__init__()
        self.cutoff, self.usual_crowding = cutoff, num_neighbors / 3 if normalized else None
        self.geometry = EdgeGeometry(cutoff, lmax, num_radial)
        self.embedding = EdgeEmbedding(num_elements, edge_channels, num_radial, smoothness)
        sizes = (lmax, channels, edge_channels, num_radial, num_neighbors)
        gathered = 2 * channels if gathered is None else gathered
        rounds = (Round(num_elements, sizes, gathered, smoothness, correlation, product) for _ in range(layers - 1))
        self.rounds = nn.ModuleList(rounds)
        self.density = AtomicDensity(*sizes, gathered, smoothness)
        self.invariants = DensityInvariants(num_elements, lmax, channels, correlation, product)
        self.mix = matrix(channels, channels)
        self.head = matrix(channels, channels, gain=SILU_GAIN)
        self.head_out = matrix(channels, 1, gain=0.3)

    @torch.no_grad()
    def begin_as(self, smaller: Backbone) -> None:
        """Channels and layers beyond those of `smaller` at first add nothing to its messages and energies."""
        if not isinstance(smaller, Directional):
            raise InputError(f"a {type(self).__name__} cannot begin as a {type(smaller).__name__}")
        own, known = _blocks(self), _blocks(smaller)
        if missing := known.keys() - own.keys():
            raise InputError(f"it has no place for {min(missing)}")
        for name, (weight, acts) in known.items():
            begin_block(own[name][0], weight, acts)
        for name in own.keys() - known.keys():
            if name.endswith((".energy", ".update.out")):
                own[name][0].zero_()

    def tables(self) -> dict[str, Tensor]:
        """The product as a list of couplings, by which an evaluation without torch knows it whatever its family; none
        of a product that is not bilinear.

        "coupling.index" (4, t) int32: component of the result, of the first and the second operand, path;
        "coupling.coefficients" (t,) float64.
        """
        tensor = self.invariants.powers.tensor
        if tensor is None:
            return {}
        return {
            "coupling.index": tensor.indices[2].contiguous(),
            "coupling.coefficients": tensor.coefficients[2].contiguous(),
        }

    def forward(self, species: Tensor, neighbors: Neighborhood) -> tuple[Tensor, Tensor]:
        """species (n,) -> energies (n,), features (n, layers C)."""
        compiled = self.invariants.powers.tensor is not None and has_kernel(neighbors.vectors)
        edges = neighbors.edges if compiled else neighbors.slots()
        start = edges.start
        harmonics, functions, radial = self.geometry(edges.vectors)
        if start is None:
            harmonics = harmonics.view(*neighbors.vectors.shape[:2], harmonics.shape[1])
        messages = self.embedding(species, edges, functions)
        usual = self.usual_crowding
        weights = radial if usual is None else self._averaging(radial, edges, len(species), usual)
        energies, features = [], []
        for layer in self.rounds:
            messages, energy, scalars = layer(messages, species, radial, weights, harmonics, edges.rev, start)
            energies.append(energy)
            features.append(scalars)
        scalars = self.invariants.of_messages(self.density, messages, weights, harmonics, species, start) @ self.mix
        energies.append(silu(scalars @ self.head) @ self.head_out)
        features.append(scalars)
        return sum(energies).squeeze(1), torch.cat(features, dim=1)

    def _averaging(self, radial: Tensor, edges: Edges, atoms: int, usual: float) -> Tensor:
        """Radial functions over the crowding of the receiver, (n / 3) / (1 + sum_j u(d_j / c)) times them.

        usual: n / 3. n: the average number of neighbours, of which u counts a third where they fill space evenly.
        """
        near = envelope(edges.vectors.norm(dim=1) / self.cutoff)
        crowding = near.new_zeros(atoms).index_add(0, edges.receiver, near)
        return radial * (usual / (1 + crowding)).index_select(0, edges.receiver).unsqueeze(1)


def _blocks(backbone: Directional) -> dict[str, tuple[Tensor, bool]]:
    """name -> weight, channels last, and whether it is a matrix, or a stack of these, which acts on channels."""
    blocks: dict[str, tuple[Tensor, bool]] = {}
    for name, weight in backbone.named_parameters():
        blocks[name] = weight, weight.dim() > 1
    for name, module in backbone.named_modules():
        if isinstance(module, ElementTable):
            blocks[f"{name}.weight"] = module.weight, False
        elif isinstance(module, DensityPowers) and (paths := module.paths()) is not None:
            blocks[f"{name}.interaction.weight"] = paths, False
    return blocks
