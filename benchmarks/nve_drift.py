"""Energy drift of a trained model in NVE molecular dynamics, 10 ps at 0.5 fs, in float32 and float64.

    .venv/bin/python benchmarks/nve_drift.py runs/demo/model.eqt molecule.xyz

One picosecond of Langevin dynamics comes first; both precisions then start from the same state.
The drift is the gradient of a straight line through the total energy.
"""

import argparse
import time
from pathlib import Path

import ase.io
import numpy as np
import torch
from environment import RESULTS, append, environment

import equitensor
from equitensor.interfaces import velocities
from equitensor.interfaces.md import MDSettings, simulate


def main() -> None:
    """Equilibrate once, run NVE in each precision, print the drifts and append them to the result file."""
    options = arguments()
    torch.set_num_threads(options.threads)
    start = equilibrated(options)
    drifts = {dtype: drift(start, options, dtype) for dtype in options.dtypes}
    result = {
        "environment": environment("+".join(options.dtypes)),
        "structure": start.get_chemical_formula(),
        "atoms": len(start),
        "note": options.note,
        "temperature_K": options.temperature,
        "timestep_fs": options.timestep,
        "picoseconds": options.picoseconds,
        "skin_A": options.skin,
        "drift": drifts,
    }
    append(result, options.out)
    for dtype, row in drifts.items():
        print(
            f"{dtype}: {row['meV_per_atom_per_ps']:+.5f} meV/atom/ps, "
            f"fluctuation {row['fluctuation_meV_per_atom']:.4f} meV/atom"
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("structure", type=Path, help="any file that ASE reads")
    parser.add_argument("--index", type=int, default=0, help="which frame of it")
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--equilibrate", type=float, default=1.0, help="picoseconds of Langevin dynamics before")
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    parser.add_argument("--skin", type=float, default=0.5, help="Angstrom, of the neighbour list")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", default="", help="one line kept with the figures")
    parser.add_argument("--out", type=Path, default=RESULTS / "nve_drift.json")
    return parser.parse_args()


def calculator(options: argparse.Namespace, dtype: str):
    """Our calculator of the model in this precision."""
    return equitensor.Calculator(options.model, device="cpu", dtype=dtype, skin=options.skin)


def equilibrated(options: argparse.Namespace):
    """The structure after Langevin dynamics at the temperature, at rest as a whole."""
    read = ase.io.read(options.structure, options.index)
    atoms = ase.Atoms(read.numbers, read.positions, cell=read.cell, pbc=read.pbc)
    atoms.calc = calculator(options, options.dtypes[0])
    random = np.random.default_rng(options.seed)
    velocities.draw(atoms, options.temperature, random)
    for _ in simulate(atoms, steps(options.equilibrate, options), settings(options, "nvt")):
        pass
    velocities.draw(atoms, options.temperature, random)
    return atoms


def drift(start, options: argparse.Namespace, dtype: str) -> dict:
    """Gradient of the total energy, its scatter about the line and the mean temperature of one NVE run."""
    atoms = start.copy()
    atoms.calc = calculator(options, dtype)
    count = steps(options.picoseconds, options)
    began = time.perf_counter()
    samples = [(x.total, x.temperature) for x in simulate(atoms, count, settings(options, "nve"))]
    seconds = time.perf_counter() - began
    energy, temperature = np.array(samples).T
    energy = 1e3 * (energy - energy.mean()) / len(atoms)
    clock = 1e-3 * options.timestep * np.arange(len(energy))
    gradient, offset = np.polyfit(clock, energy, 1)
    return {
        "meV_per_atom_per_ps": float(f"{gradient:.4g}"),
        "fluctuation_meV_per_atom": float(f"{np.std(energy - gradient * clock - offset):.4g}"),
        "mean_temperature_K": round(float(temperature.mean()), 1),
        "ms_per_step": round(1e3 * seconds / count, 3),
    }


def settings(options: argparse.Namespace, ensemble: str) -> MDSettings:
    """The dynamics of the MD command in this ensemble."""
    return MDSettings(ensemble, temperature=options.temperature, timestep=options.timestep, seed=options.seed)


def steps(picoseconds: float, options: argparse.Namespace) -> int:
    """Number of time steps in so many picoseconds."""
    return round(1e3 * picoseconds / options.timestep)


if __name__ == "__main__":
    main()
