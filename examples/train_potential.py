# %% [markdown]
# # A potential of your own, in Python
#
# From an ASE calculator to a trained potential and its equation of state. Labels come from EMT, a quick potential for
# metals that ASE has; put your DFT code in its place, or files that you have. On the command line the same is
# `equitensor train`, `equitensor eval` and `equitensor md`.
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
# Copper whose cell is stretched by a few per cent and whose atoms are displaced by 0.1 Angstrom. What is written is an
# extended xyz file; [all that can be read](../docs/data.md) is read the same way.


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
# A config is a YAML file or a mapping with the same keys ([all of them](../docs/config.md)). This model is smaller
# than the default one and 40 epochs are few: it is to be done within a minute.

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
# On data that training never saw, and beyond its range. Forces here are around 1 eV/Angstrom.

# %%
model = equitensor.load(folder / "run" / "model.eqt")
hotter = evaluate(model, open_snapshots(folder / "hotter.extxyz"))
print(hotter.table())

# %% [markdown]
# ## The calculator
#
# It goes wherever ASE takes one. Here the equation of state of the perfect crystal, which was not in the training
# data, is that of EMT:

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
# One picosecond at constant energy. That it keeps its energy says that forces are derivatives of the energy;
# `equitensor verify` checks that and more, of any calculator.

# %%
atoms = bulk("Cu", cubic=True) * (3, 3, 3)
atoms.calc = equitensor.Calculator(folder / "run" / "model.eqt")
atoms.rattle(0.1, seed=0)
totals = []
settings = MDSettings(ensemble="nve", timestep=2.0)
run_md(atoms, 500, settings, folder / "md.traj", on_step=lambda sample: totals.append(sample.total))
print(f"total energy within {1000 * np.ptp(totals) / len(atoms):.3f} meV per atom during 1 ps, {len(atoms)} atoms")
