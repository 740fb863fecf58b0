# %% [markdown]
# # A trained potential in LAMMPS
#
# Trains a small potential for copper and aluminium, writes LAMMPS input for it, compares LAMMPS with the ASE
# calculator, and runs dynamics on two MPI ranks. The pair style is compiled for the installed LAMMPS when LAMMPS first
# starts.
#
#     pip install "equitensor[lammps]"
#     python examples/lammps_crystal.py
#
# More on this, and on other builds of LAMMPS: [LAMMPS](../docs/lammps.md).

# %%
import subprocess
import sys
from pathlib import Path
from shutil import rmtree

import ase.io
import matplotlib.pyplot as plt
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from equitensor.cli import main
from equitensor.training import fit, load_config

folder = Path("runs/examples/lammps_crystal")
rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)


def command(*words):
    """The command `equitensor`, as in a shell."""
    words = [str(word) for word in words]
    print("$ equitensor", *words, flush=True)
    if main(words) != 0:
        raise SystemExit(f"equitensor {words[0]} failed")


# %% [markdown]
# ## A small potential
#
# Eight atoms of the ordered alloy and of its elements, with labels from EMT.

# %%
rng = np.random.default_rng(0)


def snapshot():
    atoms = bulk("Cu", a=3.75 * (1 + rng.uniform(-0.03, 0.03))) * (2, 2, 2)
    atoms.symbols[rng.choice(8, rng.integers(0, 9), replace=False)] = "Al"
    atoms.rattle(0.08, rng=rng)
    atoms.calc = EMT()
    labels = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


ase.io.write(folder / "train.extxyz", [snapshot() for _ in range(120)])
config = {
    "data": {"train": str(folder / "train.extxyz"), "valid_by": "frame"},
    "model": {"cutoff": 4.5, "channels": 16, "edge_channels": 16, "lmax": 2, "layers": 2},
    "train": {"max_epochs": 25, "batch_size": 8, "ema": 0.9, "device": "cpu"},
    "output": str(folder / "run"),
}
fit(load_config(config))
model = folder / "run" / "model.eqt"

# %% [markdown]
# ## LAMMPS input
#
# Types are in the order of atomic numbers, the cell has the orientation that LAMMPS requires, and the run is at
# constant energy. Edit it as you like; here the run is made shorter.

# %%
crystal = bulk("Cu", a=3.75, cubic=True) * (3, 3, 3)
crystal.symbols[::4] = "Al"  # Cu3Al
crystal.write(folder / "crystal.extxyz")
command("lammps", model, folder / "crystal.extxyz", "--out", folder / "start")
script = (folder / "start.in").read_text().replace("thermo 100", "thermo 10").replace("run 2000", "run 500")
(folder / "start.in").write_text(script)
print(script.replace(f"{Path.cwd()}/", ""))

# %% [markdown]
# ## Comparison with the ASE calculator
#
# Energy, forces and virials from LAMMPS and from the ASE calculator, in float64, on one rank and on two.

# %%
command("lammps", model, folder / "crystal.extxyz", "--check")

# %% [markdown]
# ## Dynamics on two ranks
#
# In a shell: `mpiexec -n 2 lmp -in start.in`.

# %%
programs = Path(sys.executable).parent
ranks = [programs / "mpiexec", "-n", "2", programs / "lmp", "-in", "start.in", "-nocite"]
done = subprocess.run(ranks, cwd=folder, capture_output=True, text=True, check=True)
lines = done.stdout.splitlines()
first = next(i for i, line in enumerate(lines) if line.split()[:2] == ["Step", "Temp"])
last = next(i for i, line in enumerate(lines) if line.startswith("Loop time"))
step, temperature, potential, total, _ = np.array([line.split() for line in lines[first + 1 : last]], dtype=float).T
print(lines[last])
print(f"{len(crystal)} atoms: total energy within {1000 * np.ptp(total) / len(crystal):.3f} meV per atom in 0.25 ps")

figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
for name, energy in (("potential", potential), ("total", total)):
    axes.plot(0.5e-3 * step, 1000 * (energy - energy[0]) / len(crystal), label=name)
axes.set(xlabel="time (ps)", ylabel="energy per atom (meV), from the start")
axes.legend()
figure.savefig(folder / "energies.png", dpi=80)
