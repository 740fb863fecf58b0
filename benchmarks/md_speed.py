"""Time of one force call (energy and forces through the ASE calculator): ours beside the installed peers.

    .venv-mace/bin/python benchmarks/md_speed.py          # beside MACE
    .venv-nequip/bin/python benchmarks/md_speed.py        # beside NequIP

All calculators live in one process and take turns in short blocks, each along the same vibration of the
atoms, so that a busy moment of the machine strikes all alike. A ratio above 1 means that ours is faster.
"""

import argparse
import ctypes
import json
import statistics
import time
import warnings
from pathlib import Path

import torch
from calculators import equitensor_calculator, peers
from environment import RESULTS, environment, write

from equitensor.bench.structures import STRUCTURES, vibration

BLOCK = 5
WARM_UP = 10


def main() -> None:
    """Build the calculators, time them on each structure, print a table and keep the result."""
    options = arguments()
    torch.set_num_threads(options.threads)
    if options.reuse_memory:
        reuse_memory()
    started = environment(options.dtype)
    calculators = build(options)
    timings = {name: measure(STRUCTURES[name](), calculators, options) for name in options.structures}
    result = {"environment": started, "settings": settings(options, calculators), "timings": timings}
    report(timings)
    keep(result, entry(options, calculators), options.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--calls", type=int, default=100, help="timed calls; a large structure gets a quarter")
    parser.add_argument("--structures", nargs="+", default=list(STRUCTURES), choices=list(STRUCTURES))
    parser.add_argument("--model", help="model file for ours that knows H, C, O and Si (default: untrained)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the untrained one")
    parser.add_argument("--reuse-memory", action="store_true", help="let malloc keep large arrays between calls")
    parser.add_argument("--without-ours", action="store_true", help="the peers only")
    parser.add_argument("--out", type=Path, default=RESULTS / "md_speed.json")
    return parser.parse_args()


def reuse_memory() -> None:
    """Tell glibc's malloc not to map and unmap large arrays: their page faults cost the peers a part of each call."""
    glibc = ctypes.CDLL("libc.so.6")
    trim_threshold, mmap_max = -1, -4  # names of mallopt's options in malloc.h: M_TRIM_THRESHOLD, M_MMAP_MAX
    if not (glibc.mallopt(mmap_max, 0) and glibc.mallopt(trim_threshold, 2**31 - 1)):
        raise SystemExit("--reuse-memory needs glibc")


def build(options: argparse.Namespace) -> dict:
    """Name -> ASE calculator; ours with its neighbour skin as MD has it, and without."""
    calculators = {}
    if not options.without_ours:
        model = {"settings": chosen(options.set), "model": options.model}
        calculators["equitensor"] = equitensor_calculator(options.dtype, **model)
        calculators["equitensor_no_skin"] = equitensor_calculator(options.dtype, **model, skin=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return calculators | {name: make(options.dtype) for name, make in peers().items()}


def chosen(pairs: list[str]) -> dict:
    """Model settings from key=value words, values as JSON where they are JSON."""
    engines = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        try:
            engines[key] = json.loads(value)
        except json.JSONDecodeError:
            engines[key] = value
    return engines


def settings(options: argparse.Namespace, calculators: dict) -> dict:
    """What was compared: calculators, their sizes, the settings of our model."""
    return {
        "parameters": {name: parameters(calculator) for name, calculator in calculators.items()},
        "equitensor": chosen(options.set) or "default",
        "trained": options.model is not None,
        "block": BLOCK,
        "reuse_memory": options.reuse_memory,
    }


def parameters(calculator) -> int:
    """Number of weights behind a calculator."""
    model = getattr(calculator, "model", None) or calculator.models[0]
    return sum(weight.numel() for weight in model.parameters())


def measure(atoms, calculators: dict, options: argparse.Namespace) -> dict:
    """Median milliseconds a call and microseconds an atom for every calculator, and ratios to ours."""
    calls = max(2 * BLOCK, (options.calls if len(atoms) < 100 else options.calls // 4) // BLOCK * BLOCK)
    path = vibration(atoms, WARM_UP + calls)
    run = {name: Stopwatch(atoms, calculator) for name, calculator in calculators.items()}
    for watch in run.values():
        watch.walk(path[:WARM_UP])
        watch.forget()
    for start in range(WARM_UP, len(path), BLOCK):
        for watch in run.values():
            watch.walk(path[start : start + BLOCK])
    rows = {name: watch.row() for name, watch in run.items()}
    ours = rows.get("equitensor")
    for row in rows.values():
        row["ratio_to_equitensor"] = ours and round(row["ms_per_call"] / ours["ms_per_call"], 3)
    return {"atoms": len(atoms), "calls": calls, **rows}


class Stopwatch:
    """One calculator on its own copy of the atoms, and the time of each of its calls."""

    def __init__(self, atoms, calculator):
        self.atoms = atoms.copy()
        self.atoms.calc = calculator
        self.forget()

    def forget(self) -> None:
        """Drop the times so far (the warm-up)."""
        self.wall, self.cpu = [], []

    def walk(self, positions) -> None:
        """Energy and forces at each of these positions (frames, n, 3)."""
        for frame in positions:
            self.atoms.positions = frame
            cpu, wall = time.process_time(), time.perf_counter()
            self.atoms.get_forces()
            self.atoms.get_potential_energy()
            self.wall.append(time.perf_counter() - wall)
            self.cpu.append(time.process_time() - cpu)

    def row(self) -> dict:
        """Medians; the quartiles and the processor time show a disturbed measurement."""
        lower, middle, upper = (1e3 * quartile for quartile in statistics.quantiles(self.wall, n=4))
        return {
            "ms_per_call": round(middle, 3),
            "us_per_atom": round(1e3 * middle / len(self.atoms), 2),
            "ms_quartiles": [round(lower, 3), round(upper, 3)],
            "cpu_ms_per_call": round(1e3 * statistics.median(self.cpu), 3),
        }


def report(timings: dict) -> None:
    """Print one line per structure and calculator."""
    print(f"{'structure':12} {'calculator':20} {'ms/call':>9} {'us/atom':>9} {'ratio':>7}")
    for structure, table in timings.items():
        for name, row in table.items():
            if isinstance(row, dict):
                ratio = row["ratio_to_equitensor"] or float("nan")
                print(f"{structure:12} {name:20} {row['ms_per_call']:9.2f}", end=" ")
                print(f"{row['us_per_atom']:9.1f} {ratio:7.2f}")


def entry(options: argparse.Namespace, calculators: dict) -> str:
    """Name of this run in the result file: its peers, threads and what else was not the default."""
    names = [name for name in calculators if not name.startswith("equitensor")] or ["alone"]
    marks = [f"{options.threads} threads", options.dtype] + ["reuse memory"] * options.reuse_memory
    return ", ".join([*names, *marks])


def keep(result: dict, key: str, path: Path) -> None:
    """Replace the entry `key` in the result file, the others stay."""
    earlier = json.loads(path.read_text()) if path.exists() else {}
    write({**earlier, key: result}, path)


if __name__ == "__main__":
    main()
