"""Whether molecules that no training saw stay whole in molecular dynamics, and energy is conserved.

    OMP_NUM_THREADS=1 python datasets/organics/check_dynamics.py organics runs/organics/data --processes 2

Each molecule begins at the minimum of MMFF94 next to a conformer by ETKDG and moves for 100 ps in Langevin dynamics,
then for 10 ps in NVE, at each temperature. Where a bond breaks, GFN2-xTB is asked whether it keeps it (judgement.py).
Results are kept after each batch of molecules; a call that was stopped goes on.
"""

import argparse
import itertools
import multiprocessing
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from dynamics import Conditions, Molecules
from geometries import first_conformers, minimized
from judgement import KEPT, MINIMUM, SILENT, TOO, judged
from meters import EnergyMeter, Thermometer
from results import FOLDER, Results, about
from shapes import bonds
from unseen import unseen
from watch import Break, Watch, run
from xtb import GFN2, VERSIONS

from equitensor.errors import InputError
from equitensor.interfaces import velocities

VERDICTS = {
    KEPT: "kept by GFN2-xTB",
    TOO: "broken by GFN2-xTB, too",
    MINIMUM: "kept by GFN2-xTB, to which both are minima",
    SILENT: "without an answer of GFN2-xTB",
}
JUDGED = 2  # broken bonds of a molecule at most that GFN2-xTB is asked about


@dataclass(frozen=True)
class Task:
    """Molecules, their rows of the list and starts, and what is done with them."""

    name: str
    model: str
    rows: list[dict]
    starts: list[Atoms]
    conditions: Conditions
    picoseconds: float
    nve: float
    judge: float
    seed: int


def measure(task: Task) -> tuple[str, dict]:
    """The task's name, and what became of each of its molecules."""
    torch.set_num_threads(1)
    began, rng = time.process_time(), np.random.default_rng([task.seed, int(task.conditions.temperature)])
    system = Molecules(task.model, _moving(task, rng))
    kelvin = Thermometer(system)
    watch = Watch(system, [bonds(start) for start in task.starts])
    run(watch, task.conditions, _steps(task, task.picoseconds), rng, kelvin.read)
    of_dynamics = time.process_time() - began
    meter = EnergyMeter(system)
    run(watch, replace(task.conditions, friction=0.0), _steps(task, task.nve), rng, meter.read)
    molecules = [row | {"flown apart (ps)": None, "broken": 0, "bonds": []} for row in task.rows]
    for number, step in watch.flown.items():
        molecules[number]["flown apart (ps)"] = step * task.conditions.timestep / 1000
    for event in watch.breaks:
        _describe(event, molecules[event.molecule], task)
    for number, drift in meter.drifts(task.conditions.timestep).items():
        molecules[number]["drift (meV/atom/ps)"] = float(f"{drift:.3g}")
    seconds = {"processor seconds of NVT": round(of_dynamics), "of all": round(time.process_time() - began)}
    return task.name, {"temperature (K)": kelvin.mean(), **seconds, "molecules": molecules}


def _moving(task: Task, rng) -> list[Atoms]:
    """The starts with velocities."""
    moving = [start.copy() for start in task.starts]
    for atoms in moving:
        velocities.draw(atoms, task.conditions.temperature, rng)
    return moving


def _steps(task: Task, picoseconds: float) -> int:
    return round(1000 * picoseconds / task.conditions.timestep)


def _describe(event: Break, row: dict, task: Task) -> None:
    """Add a broken bond to the row of its molecule, with what GFN2-xTB says of the first ones."""
    row["broken"] += 1
    if len(row["bonds"]) < JUDGED:
        symbols = event.now.get_chemical_symbols()
        bond = {
            "time (ps)": event.step * task.conditions.timestep / 1000,
            "bond": "-".join(f"{symbols[atom]}{atom}" for atom in event.pair),
            "length (A)": round(event.length, 2),
        }
        row["bonds"].append(bond | judged(event, GFN2(), task.conditions, task.judge))


def tasks(options: argparse.Namespace) -> list[Task]:
    """One for each temperature and batch of molecules."""
    molecules = list(itertools.islice(_starts(unseen(options.data)), options.molecules))
    batches = [molecules[k : k + options.batch] for k in range(0, len(molecules), options.batch)]
    return [
        Task(
            name=f"{kelvin:g} K, batch {number}",
            model=options.model,
            rows=[row for row, _ in batch],
            starts=[start for _, start in batch],
            conditions=Conditions(kelvin, options.timestep, options.friction),
            picoseconds=options.picoseconds,
            nve=options.nve,
            judge=options.judge,
            seed=number,
        )
        for kelvin in options.temperatures
        for number, batch in enumerate(batches)
    ]


def _starts(rows: list[dict]):
    for row, mol in first_conformers(rows):
        positions = minimized(mol)
        if positions is not None:
            yield row, Atoms([atom.GetAtomicNum() for atom in mol.GetAtoms()], positions)


def summary(pieces: dict[str, dict]) -> dict[str, dict]:
    """By temperature, how many molecules came to grief, and drifts."""
    of_temperature = defaultdict(list)
    for name, piece in pieces.items():
        of_temperature[name.partition(",")[0]].append(piece)
    return {kelvin: _summary(of_one) for kelvin, of_one in of_temperature.items()}


def _summary(pieces: list[dict]) -> dict:
    molecules = [molecule for piece in pieces for molecule in piece["molecules"]]
    verdicts = [{bond["verdict"] for bond in molecule["bonds"]} for molecule in molecules]
    drifts = np.abs([row["drift (meV/atom/ps)"] for row in molecules if "drift (meV/atom/ps)" in row])
    atoms = [row["atoms"] for row in molecules]
    weights = [len(piece["molecules"]) for piece in pieces]
    return {
        "molecules": len(molecules),
        "atoms": f"{min(atoms)} to {max(atoms)}",
        "mean temperature (K)": round(
            float(np.average([piece["temperature (K)"] for piece in pieces], None, weights)), 1
        ),
        "flown apart": sum(row["flown apart (ps)"] is not None for row in molecules),
        "with a broken bond": sum(row["broken"] > 0 for row in molecules),
        **{f"of these {text}": sum(verdict in of_one for of_one in verdicts) for verdict, text in VERDICTS.items()},
        "NVE drift, median (meV/atom/ps)": float(f"{np.median(drifts):.2g}") if len(drifts) else None,
        "NVE drift, largest (meV/atom/ps)": float(f"{drifts.max():.2g}") if len(drifts) else None,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file, or by its name one that comes with equitensor")
    parser.add_argument("data", type=Path, help="the folder that prepare.py made, of which the list is read")
    parser.add_argument("--molecules", type=int, default=100)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[300.0, 500.0], help="K")
    parser.add_argument("--picoseconds", type=float, default=100.0, help="of Langevin dynamics")
    parser.add_argument("--nve", type=float, default=10.0, help="picoseconds of NVE after them")
    parser.add_argument("--timestep", type=float, default=1.0, help="fs")
    parser.add_argument("--friction", type=float, default=10.0, help="1/ps")
    parser.add_argument("--judge", type=float, default=2.0, help="picoseconds of GFN2-xTB after a broken bond")
    parser.add_argument("--batch", type=int, default=10, help="molecules that are computed together")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=FOLDER / "dynamics.json")
    parser.add_argument("--again", action="store_true", help="throw away the results that are there")
    options = parser.parse_args()
    settings = ("molecules", "temperatures", "picoseconds", "nve", "timestep", "friction", "judge", "batch")
    try:
        basis = about(options.model, **{name: getattr(options, name) for name in settings})
        results = Results(options.out, basis, summary, options.again, **VERSIONS)
        todo = [task for task in tasks(options) if task.name not in results.pieces]
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            for name, piece in pool.imap_unordered(measure, todo):
                results.add(name, piece)
                print(f"{name}: {summary({name: piece})}", flush=True)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
