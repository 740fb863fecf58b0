"""The compiled evaluator on one core: microseconds an atom, operations, and their share of what the processor can do.

    .venv/bin/python benchmarks/evaluator.py              # all cases, several minutes; --cases crystals for the first
    .venv/bin/python benchmarks/evaluator.py --threads 2

Energies and forces from a neighbour list with a skin of 0.5 Angstrom, positions changed at every call. Times are CPU
seconds of the calling thread (wall-clock seconds with more threads) and the median of many blocks; the calculator on
torch takes turns with them. Small molecules are timed from C++, too (evaluator_call.cpp, compiled here). Operations are
counted from the sizes: multiply-adds of the matrix products, sums over neighbours, splines and couplings count two
each, all else (activations, geometry, lists) nothing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from environment import RESULTS, environment, write

from equitensor import Calculator, models
from equitensor.graph import neighbor_list
from equitensor.interfaces.evaluator import Model, System
from equitensor.interfaces.evaluator_library import library
from equitensor.interfaces.lammps.plugin import core_library

SKIN = 0.5
DEFAULT = {"channels": 32, "edge_channels": 32, "gathered": 64, "lmax": 3, "correlation": 3, "layers": 2}
SIZES = {
    "default": {},
    "channels 64": {"channels": 64, "edge_channels": 64, "gathered": 128},
    "lmax 1": {"lmax": 1},
    "lmax 2": {"lmax": 2},
    "lmax 4": {"lmax": 4},
    "correlation 1": {"correlation": 1},
    "correlation 4": {"correlation": 4},
    "three densities": {"layers": 3},
    "cg": {"product": "cg"},
    "cp": {"product": "cp"},
}


def main() -> None:
    options = arguments()
    started = environment("float32", threads=options.threads)
    peak = library().equitensor_peak(32)
    print(f"one core: {peak / 1e9:.0f} Gflop/s of multiply-adds in registers")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, settings, structure, beside_torch in cases(options.cases):
            rows.append(measure(name, settings, structure, beside_torch, options, Path(folder), peak))
            print_row(rows[-1])
    write({"environment": started, "threads": options.threads, "peak_gflops": peak / 1e9, "rows": rows}, options.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["crystals", "elements", "sizes", "linear"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS / "evaluator.json")
    return parser.parse_args()


def cases(kinds):
    """(name, settings, structure, whether torch is timed beside it)"""
    if "crystals" in kinds:
        yield "bcc, 26 neighbours", {}, crystal((8, 8, 8)), True
        yield "bcc, 26 neighbours, in cache", {}, crystal((2, 2, 2)), False
        yield "fcc alloy, 42 neighbours", {}, alloy(), True
        yield "molecule of 15 atoms", {}, molecule(), True
    if "elements" in kinds:
        for count in (4, 8, 16):
            structure = crystal((8, 8, 8))
            structure.numbers = np.random.default_rng(count).choice(np.arange(13, 13 + count), len(structure))
            yield f"bcc, {count} elements", {}, structure, False
    if "sizes" in kinds:
        for name, settings in SIZES.items():
            yield name, settings, crystal((5, 5, 5)), True
    if "linear" in kinds:
        for repeat in ((8, 8, 8), (16, 16, 16), (32, 32, 49)):
            yield f"bcc, {2 * np.prod(repeat)} atoms", {}, crystal(repeat), False


def crystal(repeat) -> Atoms:
    atoms = bulk("Al", "bcc", a=3.316, cubic=True) * repeat
    atoms.positions += np.random.default_rng(0).normal(0, 0.05, atoms.positions.shape)
    return atoms


def alloy() -> Atoms:
    rng = np.random.default_rng(0)
    atoms = bulk("Cu", "fcc", a=3.8, cubic=True) * (4, 4, 4)
    atoms.numbers[rng.random(len(atoms)) < 0.5] = 13
    atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
    return atoms


def molecule() -> Atoms:
    """15 atoms as near to each other as acetylacetone's."""
    rng, pos = np.random.default_rng(0), [np.zeros(3)]
    while len(pos) < 15:
        trial = pos[rng.integers(len(pos))] + 1.35 * (direction := rng.normal(size=3)) / np.linalg.norm(direction)
        if min(np.linalg.norm(trial - p) for p in pos) > 1.0:
            pos.append(trial)
    return Atoms(np.where(np.arange(15) < 7, 29, 13), pos)


def measure(name, settings, atoms, beside_torch, options, folder, peak) -> dict:
    path = folder / f"{name}.eqt"
    elements = sorted(set(atoms.numbers.tolist()))
    settings = {"architecture": "directional", "cutoff": 5.0, **settings}
    models.save(models.build(settings, elements, dict.fromkeys(elements, 0.0), num_neighbors=26.0), path)
    model = Model(path)
    edges, shift, _ = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, model.cutoff + SKIN)
    start = np.concatenate([[0], np.cumsum(np.bincount(edges[1], minlength=len(atoms)))])
    vectors = atoms.positions[edges[1]] - atoms.positions[edges[0]] + shift @ atoms.cell.array
    neighbours = float((np.linalg.norm(vectors, axis=1) < model.cutoff).sum() / len(atoms))
    system = System(model, "float32", options.threads)
    system.set_neighbors(atoms.numbers, start, edges[0])
    shift = shift @ atoms.cell.array
    moves = [atoms.positions + d for d in np.random.default_rng(1).normal(0, 1e-3, (4, *atoms.positions.shape))]
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    inner = max(1, 2000 // len(atoms))

    def ours(k):
        return timed(clock, lambda: [system.evaluate(moves[(k + q) % 4], shift) for q in range(inner)]) / inner

    times = {"core": [ours(k) for k in range(2)][2:]}
    torch_call = torch_caller(path, atoms, moves, options.threads) if beside_torch else None
    times["torch"] = []
    for k in range(options.blocks):
        times["core"].append(ours(k))
        if torch_call is not None and k < 7:
            times["torch"].append(timed(clock, lambda k=k: torch_call(k)))
    seconds = statistics.median(times["core"])
    flops = operations({**DEFAULT, **settings}, neighbours, len(elements))
    row = {"name": name, "atoms": len(atoms), "neighbours": neighbours, "us_per_atom": seconds * 1e6 / len(atoms)}
    row |= {"us_per_call": seconds * 1e6, "least_us_per_atom": min(times["core"]) * 1e6 / len(atoms)}
    row |= {"mflop_per_atom": flops / 1e6, "share_of_peak": flops * len(atoms) / seconds / peak / options.threads}
    if len(atoms) < 100:
        numbers = (atoms.numbers, start, edges[0], shift, np.array(moves))
        row |= from_cpp(path, numbers, inner, options.blocks, folder)
    if times["torch"]:
        row["torch_us_per_atom"] = statistics.median(times["torch"]) * 1e6 / len(atoms)
        row["ratio"] = row["torch_us_per_atom"] / row["us_per_atom"]
    return row


def from_cpp(model, numbers, calls, blocks, folder) -> dict:
    """Microseconds of a call from C++ in float32; numbers: z, start, sender, shift, positions (sets, n, 3)."""
    program, root = folder / "evaluator_call", Path(__file__).resolve().parents[1]
    library = core_library()
    build = ["c++", "-O2", "-std=c++17", f"-I{root / 'csrc/core'}", root / "benchmarks/evaluator_call.cpp", library]
    subprocess.run([*build, f"-Wl,-rpath,{library.parent}", "-o", program], check=True)
    sizes = (len(numbers[0]), len(numbers[2]), len(numbers[4]))
    text = "\n".join(" ".join(map(repr, np.ravel(array).tolist())) for array in (sizes, *numbers))
    command = [program, model, str(calls), str(blocks)]
    printed = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    seconds = [float(line) for line in printed.split()]
    return {"cpp_us_per_call": statistics.median(seconds) * 1e6, "cpp_least_us_per_call": min(seconds) * 1e6}


def torch_caller(path, atoms, moves, threads):
    import torch

    torch.set_num_threads(threads)
    atoms = atoms.copy()
    atoms.calc = Calculator(path, device="cpu", dtype="float32", skin=SKIN, backend="torch")

    def call(k):
        atoms.positions = moves[k % 4] + 1e-5 * k
        atoms.get_forces()

    call(1)
    return call


def timed(clock, function) -> float:
    start = clock()
    function()
    return clock() - start


def operations(sizes: dict, neighbours: float, elements: int) -> float:
    """An atom's, of the path that the evaluator takes (see docs/evaluator.md)."""
    c, C, G, degrees = sizes["edge_channels"], sizes["channels"], sizes["gathered"], sizes["lmax"] + 1
    D, layers, order = degrees**2, sizes["layers"], sizes["correlation"]
    paired = layers == 2 and elements**2 * 64 * 24 * (degrees * C + c + G) <= 15 << 20
    if paired:
        splines = 5 * degrees * C + 9 * degrees * C + 9 * 2 * (c + G)
        edge = D * C + D * c + c * G + D * G + 2 * D * G + c * G + 2 * D * c + 2 * D * C + splines
        atom = 2 * D * G * C + 2 * D * C * c + 2 * C * c + 2 * C * C
    else:
        messages = sum(c * G * (r + 1) * (2 if r == layers - 1 else 3) for r in range(layers))
        densities = sum(4 * D * G - D * G * (r < layers - 1) for r in range(layers))
        updates = sum(2 * c * c * (q + 1) + 3 * D * c for q in range(layers - 1))
        edge = messages + densities + updates + 9 * (c + G) * layers * (layers + 1) // 2
        atom = layers * 2 * D * G * C + (layers - 1) * (2 * D * C * c + 2 * C * c) + 2 * C * C
    entries = {1: 7, 2: 52, 3: 194, 4: 623}.get(sizes["lmax"], 1) * (3 if sizes.get("product") == "cg" else 1)
    powers = max(0, order - 1)  # products with the density: forward, two backward but one for the square, raised again
    products = max(0, (layers - 1) * (4 * powers - 2) + (order + 1) // 2 - 1)
    return 2 * (neighbours * edge + atom + products * 1.6 * entries * C)


def print_row(row: dict) -> None:
    line = f"{row['name']:32s} {row['us_per_atom']:7.2f} us/atom (least {row['least_us_per_atom']:.2f})"
    line += f" {row['us_per_call']:9.0f} us/call"
    line += f" {row['mflop_per_atom']:6.2f} Mflop/atom, share {row['share_of_peak']:.2f}"
    if "cpp_us_per_call" in row:
        line += f"; from C++ {row['cpp_us_per_call']:.0f} us/call (least {row['cpp_least_us_per_call']:.0f})"
    if "ratio" in row:
        line += f"; torch {row['torch_us_per_atom']:.1f} us/atom, ratio {row['ratio']:.1f}"
    print(line, flush=True)


if __name__ == "__main__":
    main()
