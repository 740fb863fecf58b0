"""DimeNet++ (Gasteiger et al. 2020, arXiv 2011.14115) without triplets: the peer beside our own backbone.

Its weights have the names and shapes of PyG's DimeNetPlusPlus, so that trained ones can be taken over
(`load_pyg_weights`). Its sum over triplets is `ops.triplet_sum`, which costs a product per edge.
"""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, final

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from equitensor.errors import InputError
from equitensor.models.backbone import Backbone
from equitensor.nn.harmonics import SphericalHarmonics
from equitensor.nn.neighborhood import Neighborhood
from equitensor.nn.spherical_bessel import SphericalBesselBasis
from equitensor.nn.weights import ElementTable
from equitensor.ops.radial import envelope
from equitensor.ops.triplet_sum import triplet_sum
from equitensor.settings import Count, CountFromZero


def dense(fan_in: int, fan_out: int, bias: bool = True) -> nn.Linear:
    """A linear layer with an orthogonal matrix of Glorot's variance 2 / (fan_in + fan_out), bias 0."""
    layer = nn.Linear(fan_in, fan_out, bias)
    nn.init.orthogonal_(layer.weight)
    with torch.no_grad():
        layer.weight *= (2 / ((fan_in + fan_out) * layer.weight.square().mean())).sqrt()
        if bias:
            layer.bias.zero_()
    return layer


class BesselBasis(nn.Module):
    """u(x) / x sin(f_n x), x = d / cutoff, with trainable frequencies that start at n pi: (e,) -> (e, num)."""

    def __init__(self, cutoff: float, num: int, power: int) -> None:
        super().__init__()
        self.cutoff, self.power = cutoff, power
        self.freq = nn.Parameter(math.pi * torch.arange(1.0, num + 1))

    def forward(self, distance: Tensor) -> Tensor:
        x = (distance / self.cutoff).unsqueeze(1)
        return envelope(x, self.power) / x * torch.sin(self.freq * x)


class EmbeddingBlock(nn.Module):
    """m_ji = silu(W [h_i, h_j, silu(V e_ji)])."""

    def __init__(self, num_elements: int, channels: int, num_radial: int) -> None:
        super().__init__()
        self.emb = ElementTable(num_elements, channels)
        self.lin_rbf = dense(num_radial, channels)
        self.lin = dense(3 * channels, channels)

    def forward(self, radial: Tensor, receiver: Tensor, sender: Tensor) -> Tensor:
        """radial (e, num_radial), species of receivers and senders (e,) -> (e, channels)."""
        to_receiver, to_sender, to_radial = self.lin.weight.chunk(3, dim=1)
        hidden = torch.addmm(self.lin.bias, silu(self.lin_rbf(radial)), to_radial.mT)
        # one product per element, not per edge
        hidden = hidden + (self.emb.weight @ to_receiver.mT).index_select(0, receiver)
        return silu(hidden + (self.emb.weight @ to_sender.mT).index_select(0, sender))


class ResidualLayer(nn.Module):
    """x + silu(W2 silu(W1 x))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lin1, self.lin2 = dense(channels, channels), dense(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + silu(self.lin2(silu(self.lin1(x))))


class InteractionBlock(nn.Module):
    """Messages updated by those that meet them: m_ji from itself and from sum over k of m_kj times a(d_kj, angle)."""

    def __init__(self, channels, triplet_channels, basis_channels, lmax, num_radial, before_skip, after_skip) -> None:
        super().__init__()
        self.lin_rbf1 = dense(num_radial, basis_channels, bias=False)
        self.lin_rbf2 = dense(basis_channels, channels, bias=False)
        self.lin_sbf1 = dense((lmax + 1) * num_radial, basis_channels, bias=False)
        self.lin_sbf2 = dense(basis_channels, triplet_channels, bias=False)
        self.lin_kj, self.lin_ji = dense(channels, channels), dense(channels, channels)
        self.lin_down = dense(channels, triplet_channels, bias=False)
        self.lin_up = dense(triplet_channels, channels, bias=False)
        self.layers_before_skip = nn.Sequential(*(ResidualLayer(channels) for _ in range(before_skip)))
        self.lin = dense(channels, channels)
        self.layers_after_skip = nn.Sequential(*(ResidualLayer(channels) for _ in range(after_skip)))

    def forward(self, messages: Tensor, basis: "EdgeBasis") -> Tensor:
        """messages (e, channels) -> (e, channels)."""
        arriving = silu(self.lin_kj(messages)) * self.lin_rbf2(self.lin_rbf1(basis.radial))
        arriving = basis.rows(silu(self.lin_down(arriving)))
        weighted = self._radial(basis.spherical, arriving.shape) * arriving.unsqueeze(2)
        met = triplet_sum(weighted, basis.harmonics, basis.rev)
        hidden = silu(self.lin_ji(messages)) + silu(self.lin_up(met))
        hidden = silu(self.lin(self.layers_before_skip(hidden))) + messages
        return self.layers_after_skip(hidden)

    def _radial(self, spherical: Tensor, shape) -> Tensor:
        """R_l,c(d) = sum_n W_c,ln a_ln(d): (lmax+1, slots, num) -> (n, width, lmax+1, triplet_channels)."""
        degrees, _, num = spherical.shape
        weight = (self.lin_sbf2.weight @ self.lin_sbf1.weight).view(-1, degrees, num).permute(1, 2, 0)
        return torch.bmm(spherical, weight).unflatten(1, shape[:2]).permute(1, 2, 0, 3)


class OutputBlock(nn.Module):
    """Atomic energies from the messages that arrive: an MLP of sum_j (W e_ji) m_ji, less its value at 0 if asked."""

    def __init__(self, channels, output_channels, num_radial, num_layers, from_zero) -> None:
        super().__init__()
        self.from_zero = from_zero
        self.lin_rbf = dense(num_radial, channels, bias=False)
        self.lin_up = dense(channels, output_channels, bias=False)
        self.lins = nn.ModuleList(dense(output_channels, output_channels) for _ in range(num_layers))
        self.lin = dense(output_channels, 1, bias=False)
        with torch.no_grad():  # the sum of the blocks then starts with forces of the order of one
            self.lin.weight *= 0.2

    def forward(self, messages: Tensor, basis: "EdgeBasis") -> tuple[Tensor, Tensor]:
        """messages (e, channels) -> energies (n,), what the MLP saw (n, channels)."""
        features = basis.rows(self.lin_rbf(basis.radial) * messages).sum(1)
        hidden = self.lin_up(pad(features, (0, 0, 0, 1)) if self.from_zero else features)
        for layer in self.lins:
            hidden = silu(layer(hidden))
        energies = self.lin(hidden).squeeze(1)
        return energies[:-1] - energies[-1] if self.from_zero else energies, features


class EdgeBasis:
    """What every block needs of the edges: radial (e, num), and in rows spherical (lmax+1, slots, num), harmonics."""

    def __init__(self, neighbors: Neighborhood, radial, spherical, harmonics, rev) -> None:
        self.neighbors, self.radial, self.spherical = neighbors, radial, spherical
        self.harmonics, self.rev = harmonics, rev

    def rows(self, values: Tensor) -> Tensor:
        """Values of edges (e, c), in order of receiver -> (n, width, c), zero in the empty slots."""
        n, width = self.neighbors.num_nodes, self.neighbors.width
        if len(values) != n * width:
            empty = values.new_zeros(n * width, values.shape[1])
            values = empty.index_copy(0, self.neighbors.slot, values)
        return values.view(n, width, values.shape[1])


@final
class DimeNetPlusPlus(Backbone):
    """Atomic energies (n,) and invariant features of DimeNet++, with the sizes of the paper.

    Two things differ from PyG's unless `pyg_form` is set: the angular basis has the envelope u(x) instead of
    u(x) / x, which diverges as atoms meet, and the outputs' value for an atom without neighbours is taken off, so
    that this has the energy 0. Neither changes a shape.

    Args: num_elements; cutoff in Angstrom; channels of a message; layers, interaction blocks; lmax, the degree of
    the angular basis (num_spherical - 1); num_radial; triplet_channels, basis_channels and output_channels, PyG's
    int_emb_size, basis_emb_size and out_emb_channels; before_skip, after_skip, output_layers, counts of layers;
    envelope_exponent, PyG's (power - 1). num_neighbors is taken as every backbone takes it, and not used: DimeNet's
    sums are sums.
    """

    PARTS: ClassVar[Mapping[str, tuple[str, ...]]] = {  # the first pattern that matches counts
        "radial": ("rbf.*", "sbf.*", "*.lin_rbf*", "*.lin_sbf*"),
        "embedding": ("emb.*",),
        "interactions": ("interaction_blocks.*",),
        "readout": ("output_blocks.*",),
    }
    lr_scale: ClassVar[float] = 0.2  # of an optimiser's default learning rate, at which these wide layers diverge

    def __init__(
        self,
        num_elements: int,
        cutoff: PositiveFloat = 5.0,
        channels: Annotated[Count, Field(description="channels (directional: on atoms; dimenet++: of messages)")] = 128,
        layers: Annotated[Count, Field(description="interaction blocks (directional: densities)")] = 4,
        lmax: Annotated[CountFromZero, Field(description="maximum degree of the angular basis")] = 6,
        num_radial: Annotated[Count, Field(description="number of Bessel functions")] = 6,
        triplet_channels: Annotated[Count, Field(description="channels of the triplet interaction")] = 64,
        basis_channels: Annotated[Count, Field(description="channels between the bases and the messages")] = 8,
        output_channels: Annotated[Count, Field(description="channels of the output blocks")] = 256,
        before_skip: Annotated[CountFromZero, Field(description="residual layers before the skip connection")] = 1,
        after_skip: Annotated[CountFromZero, Field(description="residual layers after the skip connection")] = 2,
        output_layers: Annotated[CountFromZero, Field(description="number of layers of an output block")] = 3,
        envelope_exponent: Annotated[Count, Field(description="exponent of the polynomial envelope at the cutoff")] = 5,
        pyg_form: Annotated[
            bool, Field(description="use the form of PyG's DimeNet++, so that its weights can be loaded")
        ] = False,
        num_neighbors: float | None = None,
    ) -> None:
        super().__init__()
        self.cutoff, self.power, self.pyg_form = cutoff, envelope_exponent + 1, pyg_form
        self.rbf = BesselBasis(cutoff, num_radial, self.power)
        self.sbf = SphericalBesselBasis(cutoff, lmax, num_radial)
        self.harmonics = SphericalHarmonics(lmax)
        self.emb = EmbeddingBlock(num_elements, channels, num_radial)
        self.output_blocks = nn.ModuleList(
            OutputBlock(channels, output_channels, num_radial, output_layers, not pyg_form) for _ in range(layers + 1)
        )
        self.interaction_blocks = nn.ModuleList(
            InteractionBlock(channels, triplet_channels, basis_channels, lmax, num_radial, before_skip, after_skip)
            for _ in range(layers)
        )

    def forward(self, species: Tensor, neighbors: Neighborhood) -> tuple[Tensor, Tensor]:
        """species (n,) -> energies (n,), features (n, (layers + 1) channels)."""
        basis = self._basis(neighbors)
        receiver = neighbors.slot // max(neighbors.width, 1)
        sender = neighbors.sender.index_select(0, neighbors.slot)
        messages = self.emb(basis.radial, species.index_select(0, receiver), species.index_select(0, sender))
        results = [self.output_blocks[0](messages, basis)]
        for interaction, output in zip(self.interaction_blocks, self.output_blocks[1:], strict=True):
            messages = interaction(messages, basis)
            results.append(output(messages, basis))
        energies, features = zip(*results, strict=True)
        return sum(energies), torch.cat(features, dim=1)

    def _basis(self, neighbors: Neighborhood) -> EdgeBasis:
        vectors = neighbors.vectors.flatten(0, 1)
        distance = vectors.norm(dim=1)
        x = distance / self.cutoff
        ends = envelope(x, self.power) / x if self.pyg_form else envelope(x, self.power)
        harmonics = self.harmonics(vectors / distance.unsqueeze(1))
        return EdgeBasis(
            neighbors,
            radial=self.rbf(distance.index_select(0, neighbors.slot)),
            spherical=(self.sbf(distance) * ends.view(-1, 1, 1)).transpose(0, 1),
            harmonics=harmonics.view(neighbors.num_nodes, neighbors.width, harmonics.shape[1]),
            rev=neighbors.rev.index_select(0, neighbors.slot),
        )


def load_pyg_weights(model: nn.Module, source: nn.Module | Mapping[str, Tensor]) -> None:
    """Copy the weights of PyG's DimeNetPlusPlus (the module or its state dict) into a dimenet++ Potential.

    The potential then gives PyG's energies, times its `scale` and plus its E0s, to 1e-6, the precision of the zeros and
    norms of PyG's Bessel functions (float32). Its cutoff and envelope_exponent must be those of the PyG model. Raises
    InputError if the potential does not have PyG's form, or if sizes differ.
    """
    backbone = model.backbone
    if not isinstance(backbone, DimeNetPlusPlus) or not backbone.pyg_form:
        raise InputError("weights of PyG's DimeNet++ need model.architecture: dimenet++ with model.pyg_form: true")
    weights = dict(source.state_dict() if isinstance(source, nn.Module) else source)
    try:
        rows = torch.tensor(model.elements, device=weights["emb.emb.weight"].device)
        weights["emb.emb.weight"] = weights["emb.emb.weight"].index_select(0, rows)
        backbone.load_state_dict(weights)
    except (KeyError, IndexError, RuntimeError) as error:
        raise InputError(f"these weights of PyG's DimeNet++ do not fit {model.settings}: {error}") from None
