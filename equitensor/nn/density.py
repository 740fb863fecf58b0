"""Directional message passing in its two halves: messages gathered on atoms, and read out along edges.

A filter Z_lmk(r) = Y_lm(r / d) rho_lk(d) belongs to each edge. Gathering is A_i = sum_j Z(r_ji)^T m_ji, reading out
is g_ji = Z(r_ji) B_j: both are one small matrix product per atom, and a matrix per degree that acts on channels and
radial functions together makes the radial weights matrix-valued, R_l(d)[c, c'] = sum_k rho_lk(d) W_lk[c, c'].
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from equitensor.nn.harmonics import SphericalHarmonics
from equitensor.nn.weights import degree_of_components, matrix

SILU_GAIN = 1.6  # keeps the variance through silu: 1 / (standard deviation of silu(x) for normal x)


class EdgeFilters(nn.Module):
    """Z[i, j, (lm, k)] = Y_lm(r_ji / d) sum_n rho_lnk u(d) b_n(d): (n, width, (L+1)^2 radial_channels).

    u(d) is the envelope, so filters, and all that passes through them, vanish smoothly at the cutoff.
    """

    def __init__(self, lmax: int, num_radial: int, radial_channels: int) -> None:
        super().__init__()
        self.harmonics = SphericalHarmonics(lmax)
        self.radial = matrix(num_radial, radial_channels, lmax + 1)
        self.register_buffer("degree", degree_of_components(lmax), persistent=False)

    def forward(self, directions: Tensor, radial: Tensor) -> Tensor:
        """directions (n, width, 3), unit vectors; radial (n width, num_radial), enveloped."""
        harmonics = self.harmonics(directions.flatten(0, 1))
        functions = (radial @ self.radial.transpose(0, 1).flatten(1)).view(-1, *self._shape)
        filters = harmonics.unsqueeze(2) * functions.index_select(1, self.degree)
        return filters.view(*directions.shape[:2], filters.shape[1] * filters.shape[2])  # no -1: there may be no edges

    @property
    def _shape(self) -> tuple[int, int]:
        return self.radial.shape[0], self.radial.shape[2]


class AtomicDensity(nn.Module):
    """A_i,lm,c' = avg^-1/2 sum_kc W_lkcc' sum_j Z_lmk(r_ji) (V m_ji)_c: (n, (L+1)^2, C)."""

    def __init__(self, lmax, channels, edge_channels, radial_channels, num_neighbors) -> None:
        super().__init__()
        self.scale = num_neighbors**-0.5
        self.message = matrix(edge_channels, channels)
        self.weight = matrix(radial_channels * channels, channels, lmax + 1)
        self.register_buffer("degree", degree_of_components(lmax), persistent=False)

    def forward(self, messages: Tensor, filters: Tensor) -> Tensor:
        """messages (n width, c), filters (n, width, (L+1)^2 radial_channels)."""
        n, width, _ = filters.shape
        messages = (messages @ (self.message * self.scale)).view(n, width, -1)
        gathered = torch.bmm(filters.transpose(1, 2), messages).view(n, len(self.degree), -1)
        mixed = torch.bmm(gathered.transpose(0, 1), self.weight.index_select(0, self.degree))
        return mixed.transpose(0, 1).contiguous()


class EdgeUpdate(nn.Module):
    """m_ji += MLP(m_ji, g_ji, scalars of B_j and B_i), g_ji = sum_lmk Z_lmk(r_ji) sum_c W_lkc B_j,lm,c."""

    def __init__(self, lmax, channels, edge_channels, radial_channels) -> None:
        super().__init__()
        self.message = matrix(edge_channels, edge_channels)
        fan_in = (lmax + 1) * radial_channels
        self.angular = matrix(channels, radial_channels * edge_channels, lmax + 1, gain=fan_in**-0.5)
        self.scalars = matrix(channels, edge_channels)
        self.bias = nn.Parameter(torch.zeros(edge_channels))
        self.out = matrix(edge_channels, edge_channels, gain=SILU_GAIN)
        self.register_buffer("degree", degree_of_components(lmax), persistent=False)
        # An atom's row holds the edges that arrive; those that leave are their reverses: (-1)^l.
        self.register_buffer("sign", ((-1.0) ** torch.arange(lmax + 1)).view(-1, 1, 1), persistent=False)

    def forward(self, messages, features, scalars, filters, rev) -> Tensor:
        """messages (n width, c), features (n, (L+1)^2, C), scalars (n, C), rev (n width,) -> (n width, c)."""
        n, width, _ = filters.shape
        weight = (self.angular * self.sign).index_select(0, self.degree)
        projected = torch.bmm(features.transpose(0, 1), weight).transpose(0, 1)
        arriving = torch.bmm(filters, projected.reshape(n, filters.shape[2], -1))
        hidden = torch.addmm(arriving.flatten(0, 1).index_select(0, rev), messages, self.message)
        receiver = torch.addmm(self.bias, scalars, self.scalars).unsqueeze(1)
        hidden = silu(hidden.view(n, width, -1) + receiver)
        return torch.addmm(messages, hidden.flatten(0, 1), self.out)
