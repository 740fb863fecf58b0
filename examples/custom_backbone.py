# %% [markdown]
# # Your own architecture
#
# A backbone maps elements and neighbours to atomic energies. Forces, stress, E0s, units, training, model files, the
# calculator and `equitensor verify` come with the `Potential` around it. The backbone here is the embedded-atom method
# (Daw and Baskes 1984) with learned functions,
#
#     E_i = sum_j phi(d_ij) + F(rho_i),   rho_i,k = sum_j f_k(d_ij)
#
#     python examples/custom_backbone.py
#
# To use it with `equitensor train`, put it into a package of your own: [extending](../docs/extending.md).

# %%
from pathlib import Path
from shutil import rmtree
from typing import Annotated, final

import ase.io
import matplotlib.pyplot as plt
import numpy as np
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from pydantic import Field

import equitensor
from equitensor import models
from equitensor.models import Backbone
from equitensor.models.architectures import registered
from equitensor.nn.radial_basis import RadialBasis
from equitensor.settings import Count
from equitensor.training import fit, load_config
from equitensor.verification import verify

folder = Path("runs/examples/custom_backbone")
rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)

# %% [markdown]
# ## The backbone
#
# The arguments of the constructor become keys of the `model` section, with checks according to their annotations.
# `neighbors.vectors` has a row of neighbours for each atom, padded to the same width with vectors beyond the cutoff,
# where the basis is zero. With F(0) = 0 an isolated atom has its E0.


# %%
@final
class EmbeddedAtom(Backbone):
    """Energies (n,) and densities (n, densities) of one element."""

    def __init__(
        self,
        num_elements: int,
        cutoff: float,
        num_radial: Annotated[Count, Field(description="radial functions")] = 8,
        densities: Annotated[Count, Field(description="densities on an atom")] = 8,
        num_neighbors: float = 12.0,
    ) -> None:
        super().__init__()
        self.basis = RadialBasis(cutoff, num_radial)
        self.pair = torch.nn.Linear(num_radial, 1, bias=False)
        self.density = torch.nn.Linear(num_radial, densities, bias=False)
        first, second, last = (torch.nn.Linear(*sizes) for sizes in ((densities, 32), (32, 32), (32, 1)))
        self.embedding = torch.nn.Sequential(first, torch.nn.SiLU(), second, torch.nn.SiLU(), last)
        self.factor = num_neighbors**-0.5

    def forward(self, species, neighbors):
        distance = neighbors.vectors.flatten(0, 1).norm(dim=1)
        _, functions = self.basis(distance)  # zero, with two derivatives, from the cutoff on
        sums = self.factor * functions.view(neighbors.num_nodes, neighbors.width, -1).sum(1)
        density = self.density(sums)
        embedding = self.embedding(density) - self.embedding(torch.zeros_like(density[:1]))
        return (self.pair(sums) + embedding).squeeze(1), density


# %% [markdown]
# ## Data and training
#
# Copper, with energies and forces from EMT, which is itself an embedded-atom method.

# %%
rng, frames = np.random.default_rng(0), []
for _ in range(100):
    atoms = bulk("Cu", a=3.6 * (1 + rng.uniform(-0.04, 0.06))) * (2, 2, 2)
    atoms.rattle(0.1, rng=rng)
    atoms.calc = EMT()
    labels = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces")}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    frames.append(atoms)
ase.io.write(folder / "train.extxyz", frames)

config = {
    "data": {"train": str(folder / "train.extxyz"), "valid_by": "frame"},
    "model": {"architecture": "embedded-atom", "cutoff": 4.5, "densities": 8},
    "train": {"max_epochs": 40, "batch_size": 8, "ema": 0.9, "device": "cpu"},
    "output": str(folder / "run"),
}
with registered("embedded-atom", EmbeddedAtom):
    fit(load_config(config))
    model = equitensor.load(folder / "run" / "model.eqt")
    calculator = equitensor.Calculator(folder / "run" / "model.eqt", dtype="float64")

# %% [markdown]
# ## Checks
#
# Symmetries, derivatives, the cutoff, size-extensivity: an error in the backbone, such as a basis that ends with a
# kink, fails one of these checks. On the command line: `equitensor verify runs/examples/custom_backbone/run/model.eqt`.

# %%
e0s = {"Cu": models.read_header(folder / "run" / "model.eqt")["e0s"]["29"]}
report = verify(calculator, frames[0], e0s=e0s, seconds=10)
print(report)

# %% [markdown]
# ## What has it learned?
#
# The pair energy and one of the densities can be plotted because the model is so simple. For its accuracy, compare the
# errors above with those of the default architecture in `train_potential.py`.

# %%
distance = torch.linspace(1.8, 4.8, 200)
with torch.no_grad():
    _, functions = model.backbone.basis(distance)
    curves = {"pair energy": model.backbone.pair(functions), "a density": model.backbone.density(functions)[:, :1]}
figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
for name, curve in curves.items():
    axes.plot(distance, curve, label=name)
axes.axvline(model.cutoff, color="gray", linestyle=":")
axes.set(xlabel="distance (Angstrom)", ylabel="in units of the network")
axes.legend()
figure.savefig(folder / "functions.png", dpi=80)
