"""Kills conversions and trainings at random moments, goes on each time, and compares with undisturbed ones.

    python benchmarks/kills.py convert --kills 20
    python benchmarks/kills.py train --kills 20 --data datasets/alanine/train.xyz

Ends with 1 where anything differs: records, index and report of a store; weights, their average, the optimiser's state,
rows of metrics.csv and errors of a run. The moments are drawn with --seed.
"""

import argparse
import csv
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What hangs on the clock, and a state of which loaders draw seeds for workers, but no step anything.
_APART = ("elapsed", "reserve", "rng")
CONVERT = """
import sys
from equitensor.data import store_writer
store_writer._BATCH_BYTES = 100_000
from equitensor.cli import main
sys.exit(main(sys.argv[1:]))
"""
TRAIN = """
import sys
from equitensor.training import trainer
trainer.CHECKPOINT_EVERY = 0.2
from equitensor.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Killed:
    """Repeats a command until it ends by itself, killing it at moments drawn from the time that it takes."""

    def __init__(self, script: str, seed: int, allowed: int = 0):
        self.script, self.random, self.kills = script, random.Random(seed), 0
        self.allowed = (0, allowed)  # exit codes

    def run(self, arguments) -> float:
        """Undisturbed; seconds."""
        began = time.monotonic()
        process = self._start(arguments)
        output, _ = process.communicate()
        if process.returncode not in self.allowed:
            raise SystemExit(f"failed with {process.returncode}:\n{output}")
        return time.monotonic() - began

    def run_with_kills(self, arguments, seconds: float, most: int) -> None:
        """`arguments()` of each attempt, the last of which is left alone."""
        while most > 0:
            process = self._start(arguments())
            try:
                output, _ = process.communicate(timeout=self.random.uniform(0, seconds))
                if process.returncode not in self.allowed:
                    raise SystemExit(f"failed with {process.returncode} after {self.kills} kills:\n{output}")
                return
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                self.kills, most = self.kills + 1, most - 1
        self.run(arguments())

    def _start(self, arguments):
        command = [sys.executable, "-c", self.script, *map(str, arguments)]
        return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def make_sources(folder: Path, records: int) -> list[Path]:
    """A store and files of random molecules, a few of which cannot be used."""
    import ase.io
    import numpy as np
    from ase.calculators.singlepoint import SinglePointCalculator

    from equitensor.data import StoreWriter
    from equitensor.graph import Structure

    rng = np.random.default_rng(0)
    structures = []
    for i in range(records):
        n = int(rng.integers(2, 30))
        pos = 4 * rng.normal(size=(n, 3)) if i % 97 else np.zeros((n, 3))
        values = {"pos": pos, "cell": np.zeros((3, 3)), "pbc": np.zeros(3, bool), "energy": float(rng.normal())}
        forces = rng.normal(size=(n, 3))
        structures.append(Structure(z=rng.integers(1, 9, n), forces=forces, group=f"run {i // 9}", **values))
    with StoreWriter(folder / "source.lmdb") as writer:
        for structure in structures:
            writer.add(structure)
        writer.finish()
    paths = [folder / "source.lmdb"]
    for k in range(4):
        frames = [structure.to_ase() for structure in structures[k * records // 20 : (k + 1) * records // 20]]
        for atoms in frames:
            atoms.calc = SinglePointCalculator(atoms, **atoms.calc.results)
        paths.append(folder / f"{k}.xyz")
        ase.io.write(paths[-1], frames, format="extxyz")
    return paths


def content(store: Path) -> tuple:
    """All of a store but for its date, and its report."""
    from equitensor.data.convert import report_path
    from equitensor.data.environment import open_lmdb

    with open_lmdb(store).transaction() as transaction:
        records = {bytes(key): bytes(value) for key, value in transaction.cursor() if bytes(key) != b"equitensor"}
    return records, report_path(store).read_text()


def convert(options, folder: Path) -> list[str]:
    """What differed."""
    sources, killed, problems = make_sources(folder, options.records), Killed(CONVERT, options.seed, allowed=1), []

    def command(out, workers):
        return ["data", "convert", *sources, out, "--on-bad", "report", "--workers", workers]

    seconds = killed.run(command(folder / "whole.lmdb", 1))
    expected = content(folder / "whole.lmdb")
    while killed.kills < options.kills:
        out = folder / "out.lmdb"
        for path in folder.glob("out.lmdb*"):
            path.unlink()
        most = min(options.kills - killed.kills, 5)

        def again(out=out):
            if out.exists():  # killed after its last step
                return ["data", "info", out]
            return command(out, killed.random.randint(1, 3))

        killed.run_with_kills(again, 1.1 * seconds, most)
        left = sorted(path.name for path in folder.glob("out.lmdb*"))
        if left != ["out.lmdb", "out.lmdb.left_out.csv"]:
            problems.append(f"after {killed.kills} kills these files are there: {left}")
        if content(out) != expected:
            problems.append(f"after {killed.kills} kills the store differs")
    return problems


def differences(a: dict, b: dict, where: str = "") -> list[str]:
    """Names of what differs between two nested states."""
    import torch

    if isinstance(a, dict) and isinstance(b, dict):
        names = a.keys() | b.keys()
        return [
            text for name in sorted(names, key=str) for text in differences(a.get(name), b.get(name), f"{where}/{name}")
        ]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [text for i, pair in enumerate(zip(a, b, strict=True)) for text in differences(*pair, f"{where}/{i}")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b
    return [] if same else [where]


def outcome(run: Path) -> dict:
    """All of a run that does not hang on the clock."""
    import torch
    from safetensors.torch import load_file

    state = torch.load(run / "last.ckpt", weights_only=True)
    state = {name: value for name, value in state.items() if name not in _APART}
    with (run / "metrics.csv").open(newline="") as file:
        rows = [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]
    summary = json.loads((run / "summary.json").read_text())
    kept = {name: summary[name] for name in ("errors", "epochs", "steps")}
    files = {path.name: None for path in run.iterdir() if path.name != ".lock"}
    return {"checkpoint": state, "rows": rows, "summary": kept, "model": load_file(run / "model.eqt"), "files": files}


def train(options, folder: Path) -> list[str]:
    """What differed."""
    settings = {
        "data": {"train": str(options.data.resolve()), "group_key": "trajectory", "valid_fraction": 0.1},
        "model": {"cutoff": 3.0, "channels": 4, "edge_channels": 4, "lmax": 1, "layers": 2, "num_radial": 4},
        "train": {"batch_size": 4, "max_epochs": options.epochs, "device": "cpu", "threads": options.threads},
    }
    (folder / "config.yaml").write_text(json.dumps(settings))
    killed, problems = Killed(TRAIN, options.seed), []
    seconds = killed.run(["train", folder / "config.yaml", f"output={folder / 'whole'}"])
    expected, number = outcome(folder / "whole"), 0
    while killed.kills < options.kills:
        run = folder / f"run{number}"

        def again(run=run):
            if (run / "last.ckpt").exists():
                return ["train", "--resume", run]
            return ["train", folder / "config.yaml", f"output={run}"]

        killed.run_with_kills(again, 1.1 * seconds, min(options.kills - killed.kills, 5))
        differing = differences(expected, outcome(run))
        problems += [f"after {killed.kills} kills {name} differs" for name in differing]
        print(f"{killed.kills} kills, {len(differing)} differences in this run", flush=True)
        shutil.rmtree(run)
        number += 1
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("convert", "train"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--records", type=int, default=4000, help="convert: structures of the largest source")
    parser.add_argument("--data", type=Path, default=ROOT / "datasets/alanine/train.xyz", help="train: labelled frames")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        problems = {"convert": convert, "train": train}[options.what](options, folder)
    finally:
        shutil.rmtree(folder)
    for problem in problems:
        print(problem)
    print(f"{options.what}: {options.kills} kills, {len(problems) or 'no'} differences")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
