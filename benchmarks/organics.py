"""Organic molecules: train on a store for a given processor time, test on what is held out, beside MACE.

    .venv/bin/python benchmarks/organics.py TRAIN VALID.lmdb DATA --processor-time 1800
    .venv-mace/bin/python benchmarks/organics.py TRAIN VALID.lmdb DATA --processor-time 1800 --mace

TRAIN is "runs/organics/train*.lmdb"; these stores and the folder DATA are those of datasets/organics/README.md. Ours is
datasets/organics/train.yaml by the user's command, start and closing evaluation within the time. MACE, 32x0e+32x1o,
r_max 5, has the same frames, E0s and precision, and at most 200 of the frames for validation; it is trained by its own
program with two stages, and its time begins with the first step (mace_timed.py). Both have one thread. Errors are
those of datasets/organics/evaluate.py. docs/site/beside_mace.py makes the table of docs/organics.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import ase.io
import processor_clock
import torch
from environment import REPOSITORY, RESULTS, append, environment
from mace_acac import EMA, SETTINGS

from equitensor.data import Store, open_snapshots

sys.path.insert(0, str(REPOSITORY / "datasets" / "organics"))
VALID = 200  # frames
MACE = SETTINGS | {
    "name": "organics",
    "batch_size": 10,
    "valid_batch_size": 10,
    "energy_key": "REF_energy",
    "forces_key": "REF_forces",
}
FLAGS = ("--stage_two", *EMA, "--amsgrad")


def main() -> None:
    """Train, test, append the figures to the result file."""
    import evaluate

    options = arguments()
    torch.set_num_threads(1)
    started = environment("float32", seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = options.runs or Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        calculator, training = (train_mace if options.mace else train)(options, folder)
        tests = evaluate.measured(calculator, options.data)
    result = {
        "environment": started,
        "model": " ".join(["MACE 32x0e+32x1o" if options.mace else "equitensor", *options.overrides]),
        "processor_time_s": options.processor_time,
        "frames": {"train": len(open_snapshots(options.train)), "valid": len(Store(options.valid))},
        "training": training,
        "tests": tests,
    }
    append(result, options.out)
    print(json.dumps({"training": training, **tests}, indent=2))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", help="store to train on, or a pattern of several")
    parser.add_argument("valid", type=Path, help="store for validation")
    parser.add_argument("data", type=Path, help="folder of prepare.py, with isolated_atoms.xyz and the parts held out")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="go to `equitensor train`, or mace_run_train")
    parser.add_argument("--processor-time", type=int, default=1800, help="seconds of one thread")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mace", action="store_true", help="train MACE, in its environment")
    parser.add_argument("--runs", type=Path, help="where the run stays (default: nowhere)")
    parser.add_argument("--out", type=Path, default=RESULTS / "organics.json")
    return parser.parse_intermixed_args()


def train(options: argparse.Namespace, folder: Path):
    """Our calculator, trained by the user's command; how much it was trained."""
    from equitensor import Calculator

    words = [f"data.train={options.train}", f"data.valid={options.valid}", f"seed={options.seed}"]
    words += [f"data.e0s={options.data / 'isolated_atoms.xyz'}", f"output={folder / 'run'}"]
    words += [f"train.max_time={options.processor_time}", *options.overrides, *processor_clock.ALONE]
    config = str(REPOSITORY / "datasets" / "organics" / "train.yaml")
    run([processor_clock.__file__, "train", config, *words])
    summary = json.loads((folder / "run" / "summary.json").read_text())
    calculator = Calculator(folder / "run" / "model.eqt", device="cpu", threads=1, error_bars=False)
    return calculator, {name: summary[name] for name in ("epochs", "steps", "seconds", "structures_per_second")}


def train_mace(options: argparse.Namespace, folder: Path):
    """MACE's calculator, of the best model of the second stage; how much it was trained."""
    from calculators import e3nn_constants

    frames, valid = open_snapshots(options.train), Store(options.valid)
    write_frames((frames[i] for i in range(len(frames))), folder / "train.xyz")
    write_frames([valid[i] for i in range(0, len(valid), -(-len(valid) // VALID))], folder / "valid.xyz")
    atoms = ase.io.read(options.data / "isolated_atoms.xyz", ":")
    e0s = {int(atom.numbers[0]): float(atom.get_potential_energy()) for atom in atoms}
    settings = MACE | {"E0s": e0s, "seed": options.seed, "work_dir": folder / "mace"}
    epochs = max(5, min(40, options.processor_time // 20))
    settings |= {"max_num_epochs": epochs, "start_stage_two": 4 * epochs // 5}
    settings |= {f"{part}_file": folder / f"{part}.xyz" for part in ("train", "valid")}
    settings |= dict(word.split("=", 1) for word in options.overrides)
    report = folder / "report.json"
    program = str(Path(__file__).with_name("mace_timed.py"))
    words = [*(f"--{name}={value}" for name, value in settings.items()), *FLAGS]
    run([program, str(options.processor_time), str(report), *words])
    with e3nn_constants():
        from mace.calculators import MACECalculator
    model = str(folder / "mace" / f"{MACE['name']}_stagetwo.model")
    calculator = MACECalculator(model_paths=model, device="cpu", default_dtype="float32")
    return calculator, json.loads(report.read_text())


def write_frames(frames, path: Path) -> None:
    """As extended XYZ under the names of labels that MACE is told of."""
    labelled = []
    for structure in frames:
        atoms = structure.to_ase()
        atoms.calc, atoms.info = None, {"REF_energy": structure.energy}
        atoms.arrays["REF_forces"] = structure.forces
        labelled.append(atoms)
    ase.io.write(path, labelled, format="extxyz")


def run(words: list[str]) -> None:
    """A program of this environment on one thread, which must succeed."""
    subprocess.run([sys.executable, *words], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)


if __name__ == "__main__":
    main()
