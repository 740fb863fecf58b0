# %% [markdown]
# # Train your own potential in Python
#
# From an ASE calculator to a trained potential and its equation of state. The labels come from EMT, a fast potential
# for metals in ASE; replace it by your DFT code, or by files that you have. The same can be done on the command line
# with `equitensor train`, `equitensor eval` and `equitensor md`.
#
#     python examples/train_potential.py

# %%
from pathlib import Path
from shutil import rmtree

import ase.io
import matplotlib.pyplot as plt
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

import equitensor
from equitensor.data import open_snapshots
from equitensor.interfaces import MDSettings, run_md
from equitensor.training import evaluate, fit, load_config

folder = Path("runs/examples/train_potential")
rmtree(folder, ignore_errors=True)  # what an earlier run of this script left
folder.mkdir(parents=True)

# %% [markdown]
# ## Snapshots with energies, forces and stress
#
# Copper with the cell stretched by a few per cent and the atoms displaced by 0.1 Angstrom, written as an extended xyz
# file. All [other formats](../docs/data.md) are read in the same way.


# %%
def snapshot(rng, displacement):
    atoms = bulk("Cu", a=3.6 * (1 + rng.uniform(-0.04, 0.06))) * (2, 2, 2)
    atoms.rattle(displacement, rng=rng)
    atoms.calc = EMT()
    labels = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


rng = np.random.default_rng(0)
ase.io.write(folder / "train.extxyz", [snapshot(rng, 0.1) for _ in range(120)])
ase.io.write(folder / "hotter.extxyz", [snapshot(rng, 0.12) for _ in range(30)])

# %% [markdown]
# ## Training
#
# A config is a YAML file or a mapping with the same keys ([list of all keys](../docs/config.md)). To be done within
# seconds, this example uses a model smaller than the default and only 40 epochs.

# %%
config = {
    "data": {"train": str(folder / "train.extxyz"), "valid_by": "frame"},
    "model": {"cutoff": 4.5, "channels": 16, "edge_channels": 16, "lmax": 2, "layers": 1},
    "train": {"max_epochs": 40, "batch_size": 8, "ema": 0.9, "device": "cpu"},
    "output": str(folder / "run"),
}
summary = fit(load_config(config))

# %% [markdown]
# ## How good is it?
#
# Errors on data that were not used in training, and on data beyond their range. Forces here are around 1 eV/Angstrom.

# %%
model = equitensor.load(folder / "run" / "model.eqt")
hotter = evaluate(model, open_snapshots(folder / "hotter.extxyz"))
print(hotter.table())

# %% [markdown]
# ## The calculator
#
# It can be used wherever ASE takes a calculator. Here it reproduces EMT's equation of state of the perfect crystal,
# which was not in the training data:

# %%
crystal = bulk("Cu") * (2, 2, 2)
constants = np.linspace(3.45, 3.85, 21)
curves = {"EMT": EMT(), "trained": equitensor.Calculator(folder / "run" / "model.eqt")}
energies = {name: [] for name in curves}
for name, calculator in curves.items():
    for a in constants:
        crystal.set_cell(bulk("Cu", a=a).cell * 2, scale_atoms=True)
        crystal.calc = calculator
        energies[name].append(crystal.get_potential_energy() / len(crystal))

figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
axes.plot(constants, energies["EMT"], "k-", label="EMT")
axes.plot(constants, energies["trained"], "o", mfc="none", label="trained")
axes.set(xlabel="lattice constant (Angstrom)", ylabel="energy per atom (eV)")
axes.legend()
figure.savefig(folder / "equation_of_state.png", dpi=80)
worst = np.abs(np.subtract(*energies.values())).max()
print(f"energies per atom differ by at most {1000 * worst:.1f} meV, of {1000 * np.ptp(energies['EMT']):.0f}")

# %% [markdown]
# ## Molecular dynamics
#
# One picosecond at constant energy. The total energy is conserved because the forces are derivatives of the energy;
# `equitensor verify` checks this and more for any calculator.

# %%
atoms = bulk("Cu", cubic=True) * (3, 3, 3)
atoms.calc = equitensor.Calculator(folder / "run" / "model.eqt")
atoms.rattle(0.1, seed=0)
totals = []
settings = MDSettings(ensemble="nve", timestep=2.0)
run_md(atoms, 500, settings, folder / "md.traj", on_step=lambda sample: totals.append(sample.total))
print(f"total energy within {1000 * np.ptp(totals) / len(atoms):.3f} meV per atom during 1 ps, {len(atoms)} atoms")
