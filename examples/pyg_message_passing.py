# %% [markdown]
# # A layer in a PyTorch Geometric network
#
# A `MessagePassing` layer with a Gaunt convolution, in a small network that learns energies and forces of molecules.
# PyG prepares batches and edges. Its `propagate` would pass arrays of edges x channels x components to `message`; the
# fused convolution gathers, multiplies and sums in one step instead.
#
#     pip install "equitensor[pyg]"
#     python examples/pyg_message_passing.py

# %%
from pathlib import Path

import ase.io
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.nn import MessagePassing, global_add_pool

from equitensor.nn import Convolution, Gate, Linear, SphericalHarmonics
from equitensor.o3 import random_rotation, representation

torch.manual_seed(0)
folder = Path("runs/examples/pyg_message_passing")
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The network
#
# Features have e3nn's flat layout, with the same irreps and order. `product="cg"` would be e3nn's `uvu` map; see [which
# product to choose](../docs/tensor-products.md).


# %%
class GauntLayer(MessagePassing):
    """x_i -> gate(W [x_i, sum_j R(d_ij) (x_j (x) Y(r_ij))])."""

    def __init__(self, irreps_in: str, channels: int = 16, cutoff: float = 5.0) -> None:
        super().__init__()
        c, self.cutoff = channels, cutoff
        self.gate = Gate(f"{c}x0e", torch.nn.functional.silu, f"{2 * c}x0e", torch.sigmoid, f"{c}x1o+{c}x2e")
        self.harmonics = SphericalHarmonics(2)
        self.convolution = Convolution(irreps_in, "0e+1o+2e", f"{c}x0e+{c}x1o+{c}x2e", product="gaunt")
        self.radial = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.SiLU())
        self.weight = torch.nn.Linear(32, self.convolution.weight_numel)
        self.mix = Linear(f"{irreps_in}+{self.convolution.irreps_out}", self.gate.irreps_in)

    def forward(self, x, pos, edge_index):
        edge_attr, edge_weight = self.edge_updater(edge_index, pos=pos)
        gathered = self.convolution(x, edge_attr, edge_weight, edge_index) / 3  # of some ten neighbours
        return self.gate(self.mix(torch.cat([x, gathered], dim=1)))

    def edge_update(self, pos_i, pos_j):  # PyG: i receives, j sends
        vectors = pos_i - pos_j
        distance = vectors.norm(dim=1, keepdim=True)
        basis = torch.exp(-(((distance - torch.linspace(0.5, self.cutoff, 16)) / 0.4) ** 2))
        window = torch.cos(distance.clamp(max=self.cutoff) * (torch.pi / 2 / self.cutoff)) ** 2
        return self.harmonics(vectors / distance), window * self.weight(self.radial(basis))


class Network(torch.nn.Module):
    """Energies of molecules (b,), in eV above that of their atoms."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 16)
        self.first, self.second = GauntLayer("16x0e"), GauntLayer("16x0e+16x1o+16x2e")
        self.readout = torch.nn.Linear(16, 1)

    def forward(self, batch, pos):
        x = self.second(self.first(self.embedding(batch.z), pos, batch.edge_index), pos, batch.edge_index)
        return global_add_pool(self.readout(x[:, :16]), batch.batch).squeeze(1)


# %% [markdown]
# ## Molecules
#
# Alanine at 300 K, from a data set in the repository. Molecules have few atoms, so every pair is an edge.

# %%
frames = ase.io.read("datasets/alanine/train.xyz", ":140")
mean = np.mean([atoms.get_potential_energy() for atoms in frames])


def graph(atoms):
    pairs = (~torch.eye(len(atoms), dtype=torch.bool)).nonzero().T
    labels = {"energy": atoms.get_potential_energy() - mean, "forces": torch.tensor(atoms.get_forces()).float()}
    pos, z = torch.tensor(atoms.positions).float(), torch.tensor(atoms.numbers)
    return Data(z=z, pos=pos, edge_index=pairs, num_nodes=len(atoms), **labels)


graphs = [graph(atoms) for atoms in frames]
train, test = graphs[:120], Batch.from_data_list(graphs[120:])

# %% [markdown]
# ## Training on forces and energies


# %%
def predicted(network, batch):
    pos = batch.pos.detach().requires_grad_()
    energy = network(batch, pos)
    (gradient,) = torch.autograd.grad(energy.sum(), pos, create_graph=network.training)
    return energy, -gradient


def rms_error_of_forces(network):
    network.eval()
    error = predicted(network, test)[1] - test.forces
    network.train()
    return float(error.square().mean().sqrt())


network = Network()
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
steps, errors = 150, {}
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
for step in range(steps + 1):
    if step % 15 == 0:
        errors[step] = rms_error_of_forces(network)
    batch = Batch.from_data_list([train[i] for i in torch.randint(len(train), (8,))])
    energy, forces = predicted(network, batch)
    loss = (forces - batch.forces).square().mean() + 0.01 * (energy - batch.energy).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
rms = float(test.forces.square().mean().sqrt())
print(f"RMS of forces {rms:.3f} eV/A, error {errors[steps]:.3f} after {steps} steps")

# %%
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.semilogy(list(errors), list(errors.values()), "o-")
axes.set(xlabel="steps", ylabel="RMS error of forces (eV/Angstrom)", title="20 frames that training never saw")
figure.savefig(folder / "errors.png", dpi=80)

# %% [markdown]
# ## Rotation and reflection
#
# The energy does not change, and vector features rotate with the molecule: rotated back, they are the same.

# %%
network.eval()
energies = []
for rotation in (torch.eye(3, dtype=torch.float64), random_rotation(inversion=True)):
    pos = test.pos @ rotation.T.float()
    energies.append(network(test, pos).detach())
    feature = network.first(network.embedding(test.z), pos, test.edge_index).detach()
    back = feature @ representation(network.first.gate.irreps_out, rotation).float()
    print("energies", energies[-1][:3].numpy().round(4), "| a vector, turned back", back[0, 16:19].numpy().round(4))
print(f"rotated and mirrored, energies differ by {float((energies[1] - energies[0]).abs().max()):.1e} eV (float32)")
print(network.second.convolution)
