"""Directional message passing in its two halves: messages gathered on atoms, and read out along edges.

A_i,lm = sum_j Y_lm(r_ji) R(d_ji) m_ji gathers; g_ji = R'(d_ji) sum_lm Y_lm(r_ji) W_l B_j,lm reads out. Each is one
small matrix product per atom. Radial functions and messages stay free of l and m, so no array is larger than (edges,
channels): the matrices per degree, which give every l its own radial functions, act on atoms, of which there are few.
"""

import torch
from torch import Tensor, nn

from equitensor.nn.radial_basis import smoothness_prior
from equitensor.nn.weights import DegreeLinear, matrix
from equitensor.ops.edge_form import gather_edges
from equitensor.ops.edge_update import edge_update

SILU_GAIN = 1.6  # about keeps the mean square through silu: 1 / (rms of silu(x) for normal x) is 1.68


class AtomicDensity(nn.Module):
    """A_i,lm = W_l sum_j Y_lm(r_ji) R(d_ji) * (V m_ji), over avg^1/2: (n, (L+1)^2, C).

    R is linear in the enveloped radial basis, so the sum goes to zero smoothly at the cutoff. The sum has `gathered`
    channels, which W_l mixes to C.
    """

    prior: Tensor

    def __init__(self, lmax, channels, edge_channels, num_radial, num_neighbors, gathered, smoothness) -> None:
        super().__init__()
        prior = smoothness_prior(num_radial, smoothness) * num_neighbors**-0.5
        self.register_buffer("prior", prior, persistent=False)
        self.radial = matrix(num_radial, gathered)
        self.message = matrix(edge_channels, gathered)
        self.mix = DegreeLinear(lmax, gathered, channels)

    def forward(self, messages: Tensor, radial: Tensor, harmonics: Tensor, start: Tensor | None = None) -> Tensor:
        """messages (slots, c), radial (slots, num_radial), harmonics and start as in `edge_form.gather_edges`."""
        of_messages, of_radial, _ = self.weights()
        return self.mix(gather_edges(harmonics, messages @ of_messages, radial @ of_radial, start))

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """V (c, gathered), that of R (num_radial, gathered), and W_l (L+1, gathered, C)."""
        return self.message, self.radial * self.prior, self.mix.weight


class EdgeUpdate(nn.Module):
    """m_ji += MLP(m_ji, g_ji, scalars of B_i), g_ji = R'(d_ji) * sum_lm Y_lm(r_ji) W_l B_j,lm."""

    prior: Tensor
    sign: Tensor

    def __init__(self, lmax, channels, edge_channels, num_radial, smoothness) -> None:
        super().__init__()
        self.register_buffer("prior", smoothness_prior(num_radial, smoothness), persistent=False)
        self.radial = matrix(num_radial, edge_channels)
        self.angular = DegreeLinear(lmax, channels, edge_channels)
        self.message = matrix(edge_channels, edge_channels)
        self.scalars = matrix(channels, edge_channels)
        self.bias = nn.Parameter(torch.zeros(edge_channels))
        self.out = matrix(edge_channels, edge_channels, gain=SILU_GAIN)
        # An atom's row holds the edges that arrive; those that leave are their reverses: (-1)^l.
        sign = (-1.0) ** torch.arange(lmax + 1) / (lmax + 1) ** 0.5
        self.register_buffer("sign", sign.view(-1, 1, 1), persistent=False)

    def forward(self, messages, features, radial, harmonics, rev, start=None) -> Tensor:
        """messages (slots, c), features (n, (L+1)^2, C), rev (slots,), start as in `edge_update` -> (slots, c)."""
        on_edges, on_atoms = self.radial * self.prior, self.angular.weight * self.sign
        weights = (on_edges, on_atoms, self.message, self.scalars, self.bias, self.out)
        return edge_update(messages, features, radial, harmonics, *weights, rev, start)
