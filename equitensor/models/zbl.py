"""The screened nuclear repulsion of Ziegler, Biersack and Littmark, for short distances."""

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from equitensor.ops.radial import envelope

COULOMB = 14.399645478425668  # e^2 / (4 pi epsilon_0) in eV Angstrom
BOHR = 0.529177210903  # Angstrom
COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)


class ZBL(nn.Module):
    """E_i = 1/2 sum_j k Z_i Z_j / d phi(d/a) u(d / end), a = 0.8854 a_0 / (Z_i^0.23 + Z_j^0.23).

    It ends smoothly at the sum of the covalent radii, or at the cutoff of the edges (Angstrom) where that comes first,
    as between two Cs at 4 Angstrom: end = min(r_i + r_j, cutoff). Shorter bonds, double and triple ones,
    feel some of it, which the backbone learns to take off: it is part of the energy from the first training step.
    """

    def __init__(self, cutoff: float = float("inf")) -> None:
        super().__init__()
        self.cutoff = float(cutoff)

    def forward(self, z: Tensor, edge_index: Tensor, distance: Tensor) -> Tensor:
        """z (n,) atomic numbers, distance (e,) in Angstrom -> energies (n,) in eV."""
        radii = torch.tensor(covalent_radii, dtype=distance.dtype, device=distance.device)
        sender, receiver = z[edge_index[0]], z[edge_index[1]]
        end = (radii[sender] + radii[receiver]).clamp(max=self.cutoff)
        pair = screened_coulomb(sender, receiver, distance, end)
        return pair.new_zeros(len(z)).index_add(0, edge_index[1], pair)


def screened_coulomb(sender: Tensor, receiver: Tensor, distance: Tensor, end: Tensor) -> Tensor:
    """1/2 k Z_i Z_j / d phi(d/a) u(d / end) of edges with these atomic numbers (e,), in eV."""
    dtype, device = distance.dtype, distance.device
    screening = 0.8854 * BOHR / (sender.to(dtype) ** 0.23 + receiver.to(dtype) ** 0.23)
    x = (distance / screening).unsqueeze(1)
    coefficients, exponents = (torch.tensor(values, dtype=dtype, device=device) for values in (COEFFICIENTS, EXPONENTS))
    phi = (coefficients * torch.exp(-exponents * x)).sum(dim=1)
    pair = 0.5 * COULOMB * sender.to(dtype) * receiver.to(dtype) / distance * phi  # whole numbers would be float32
    return pair * envelope(distance / end)
