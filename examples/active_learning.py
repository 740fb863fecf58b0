# %% [markdown]
# # Active learning
#
# Which structures are worth a calculation? A model with error bars runs molecular dynamics beyond its training data,
# estimates its own errors, and chooses the structures to label next, on which it is then trained. EMT provides the
# labels in place of your DFT code.
#
#     python examples/active_learning.py
#
# For the benefit of this choice in a longer experiment with molecules see [can I trust
# it?](../docs/trust.md#choosing-what-to-label)

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
from equitensor.cli import main
from equitensor.training import fit, load_config

folder = Path("runs/examples/active_learning")
rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)


def command(*words):
    """The command `equitensor`, as in a shell."""
    words = [str(word) for word in words]
    print("$ equitensor", *words, flush=True)
    if main(words) != 0:
        raise SystemExit(f"equitensor {words[0]} failed")


def labelled(atoms):
    """A copy with energy and forces of EMT."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    labels = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces")}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


# %% [markdown]
# ## A first model, trained near the energy minimum of copper
#
# Small displacements of eight atoms in a periodic cell; a part of the frames is kept for calibration.

# %%
rng = np.random.default_rng(0)


def snapshot(displacement):
    atoms = bulk("Cu", a=3.61 * (1 + rng.uniform(-0.01, 0.01))) * (2, 2, 2)
    atoms.rattle(displacement, rng=rng)
    return labelled(atoms)


ase.io.write(folder / "calm.extxyz", [snapshot(0.04) for _ in range(60)])
ase.io.write(folder / "calibration.extxyz", [snapshot(0.04) for _ in range(30)])


def trained(name, files):
    config = {
        "data": {"train": [str(folder / file) for file in files], "valid_by": "frame"},
        "model": {"cutoff": 4.5, "channels": 16, "edge_channels": 16, "lmax": 2, "layers": 1},
        "loss": {"energy": 100},
        "train": {"max_epochs": 40, "batch_size": 5, "ema": 0.9, "device": "cpu"},
        "output": str(folder / name),
    }
    return fit(load_config(config))["errors"], folder / name / "model.eqt"


_, first = trained("first", ["calm.extxyz"])

# %% [markdown]
# ## Error bars
#
# They take one pass over the training data and no further training, are calibrated on held-out data, and are stored in
# the model file.

# %%
command("uncertainty", first, folder / "calm.extxyz", "--calibrate", folder / "calibration.extxyz")

# %% [markdown]
# ## Dynamics beyond the training data
#
# At 1200 K the atoms move much further than in training. A `novelty` above 1 means that an atom is more unusual than
# 99 % of the training atoms; such frames are written next to the trajectory.

# %%
start = bulk("Cu", a=3.61) * (2, 2, 2)
start.write(folder / "start.extxyz")
options = ["--steps", 1000, "--timestep", 2, "--temperature", 1200, "--ensemble", "nvt", "--interval", 10]
guard = ["--max-novelty", 1, "--on-limit", "dump"]
command("md", first, folder / "start.extxyz", *options, *guard, "--out", folder / "hot.traj")
pool = ase.io.read(folder / "hot.traj", ":")

# %% [markdown]
# ## What to label next
#
# Each choice is the most uncertain structure, given that the previous ones have been learned, so the ten chosen frames
# differ from one another. The pool needs no labels.

# %%
command("select", first, folder / "hot.traj", "--count", 10, "--out", folder / "selected.extxyz")
chosen = ase.io.read(folder / "selected.extxyz", ":")
indices = {atoms.info["pool_index"] for atoms in chosen}
ase.io.write(folder / "learned.extxyz", [labelled(atoms) for atoms in chosen])

# %% [markdown]
# ## Train on them and compare
#
# Errors on other frames at 1200 K. Those of the first model increase with its novelty, which needs no labels. With ten
# more frames the model becomes accurate there.

# %%
_, second = trained("second", ["calm.extxyz", "learned.extxyz"])


def predictions(path):
    """RMS errors of the forces of the test frames, and the largest novelty in each."""
    calculator, errors, novelties = equitensor.Calculator(path), [], []
    for atoms in test:
        calculator.calculate(atoms)
        errors.append(np.sqrt(np.mean((calculator.results["forces"] - atoms.get_forces()) ** 2)))
        novelties.append(calculator.results["novelty"].max() if "novelty" in calculator.results else None)
    return np.array(errors), novelties


test = [labelled(atoms) for i, atoms in enumerate(pool) if i > 0 and i not in indices]
before, novelty = predictions(first)
after, _ = predictions(second)
for name, errors in (("first model", before), ("with ten frames more", after)):
    print(f"{name}: RMS error of forces {1000 * np.sqrt(np.mean(errors**2)):.0f} meV/A in {len(test)} frames at 1200 K")

figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
axes.semilogy(novelty, 1000 * before, "o", mfc="none", label="first model")
axes.semilogy(novelty, 1000 * after, "x", label="with ten frames more")
axes.set(xlabel="largest novelty in a frame, first model", ylabel="RMS error of forces (meV/Angstrom)")
axes.legend()
figure.savefig(folder / "errors.png", dpi=80)
