"""A PyG MessagePassing layer with a Gaunt convolution, on a batch of two made-up molecules.

PyG prepares the edges. Its `propagate` would hand arrays of edges x channels x components to `message`; the fused
convolution gathers, multiplies and sums in one step instead.

    python docs/examples/pyg_message_passing.py
"""

import torch
from torch_geometric.data import Batch, Data
from torch_geometric.nn import MessagePassing, global_add_pool

from equitensor.nn import Convolution, Gate, Linear, SphericalHarmonics
from equitensor.o3 import random_rotation, representation


class GauntLayer(MessagePassing):
    """x_i -> gate(W [x_i, sum_j R(d_ij) (x_j (x) Y(r_ij))])."""

    def __init__(self, irreps_in: str, channels: int = 16) -> None:
        super().__init__()
        c = channels
        self.gate = Gate(f"{c}x0e", torch.nn.functional.silu, f"{2 * c}x0e", torch.sigmoid, f"{c}x1o+{c}x2e")
        self.harmonics = SphericalHarmonics(2)
        self.convolution = Convolution(irreps_in, "0e+1o+2e", f"{c}x0e+{c}x1o+{c}x2e", product="gaunt")
        self.radial = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.SiLU())
        self.weight = torch.nn.Linear(32, self.convolution.weight_numel)
        self.mix = Linear(f"{irreps_in}+{self.convolution.irreps_out}", self.gate.irreps_in)

    def forward(self, x, pos, edge_index):
        edge_attr, edge_weight = self.edge_updater(edge_index, pos=pos)
        gathered = self.convolution(x, edge_attr, edge_weight, edge_index)
        return self.gate(self.mix(torch.cat([x, gathered], dim=1)))

    def edge_update(self, pos_i, pos_j):  # PyG: i receives, j sends
        vectors = pos_i - pos_j
        distance = vectors.norm(dim=1, keepdim=True)
        basis = torch.exp(-((distance - torch.linspace(0, 3, 8)) ** 2))
        return self.harmonics(vectors / distance), self.weight(self.radial(basis))


def main() -> None:
    torch.manual_seed(0)
    complete = (~torch.eye(6, dtype=torch.bool)).nonzero().T
    batch = Batch.from_data_list([Data(x=torch.randn(6, 16), pos=torch.randn(6, 3), edge_index=complete) for _ in "ab"])
    first, second = GauntLayer("16x0e"), GauntLayer("16x0e+16x1o+16x2e")
    energies = []
    for rotation in (torch.eye(3, dtype=torch.float64), random_rotation(inversion=True)):
        pos = batch.pos @ rotation.T.float()
        h = second(first(batch.x, pos, batch.edge_index), pos, batch.edge_index)
        energies.append(global_add_pool(h[:, 0], batch.batch).detach())
        back = h.detach() @ representation(first.gate.irreps_out, rotation).float()
        print("energies", energies[-1].numpy().round(4), "| a vector, turned back", back[0, 16:19].numpy().round(4))
    print(f"rotated and mirrored, energies differ by {float((energies[1] - energies[0]).abs().max()):.1e} (float32)")
    print(second.convolution)


if __name__ == "__main__":
    main()
