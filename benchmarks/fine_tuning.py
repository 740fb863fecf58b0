"""Fine-tuning on few frames at another level of theory, beside training from scratch on the same frames.

    .venv/bin/python benchmarks/fine_tuning.py DATA --seeds 0 1
    .venv/bin/python benchmarks/fine_tuning.py DATA --held-out --frames 50 --sets acac aspirin --seconds 60

DATA holds the folders acac and rmd17 (datasets/*/README.md say where they come from, `SETS` which files are read). A
seed draws its frames from the training file; a tenth of them is for validation, and both kinds of training have these
frames, one thread, float32 and the same time of its processor, by the user's command. The fine-tuned one begins from
`--model` with the settings of docs/fine-tuning.md (`RECIPE`), that from scratch has the defaults.

Each training is written to the result file at once: the same call goes on with what is missing, and two calls with
different --sets may run beside each other. A result counts for the same model file, time and settings only.
`key=value` behind DATA replace RECIPE. To choose settings, --held-out tests on frames of the training file that were
not drawn, with each of `CANDIDATES` unless some are given, and has a result file of its own.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import processor_clock
import torch
from environment import REPOSITORY, RESULTS, environment, write
from filelock import FileLock

from equitensor.data import StoreWriter, open_snapshots
from equitensor.interfaces.committee import digest_of
from equitensor.models.by_name import model_path

RECIPE = ["train.lr=0.003"]
CANDIDATES = [
    [],
    ["train.lr=0.003"],
    ["train.lr=0.001"],
    ["train.lr={default: 0.001, readout: 0.01}"],
    ["train.lr=0.003", "train.constant=0"],
    ["train.lr=0.003", "train.freeze=[embedding, radial]"],
    ["train.lr=0.003", "train.freeze=[embedding, radial, interactions]"],
    ["train.lr=0.003", "train.head=new"],
]
HELD_OUT = 300  # frames
FIGURES = ("energy_rmse", "energy_mae", "forces_rmse", "forces_mae")
KINDS = ("scratch", "fine-tuned")


@dataclass(frozen=True)
class DataSet:
    """Files below DATA: frames to draw from, tests by name, isolated atoms that are added to the frames."""

    train: str
    tests: dict[str, str]
    atoms: str | None = None


SETS = {
    "acac": DataSet(
        "acac/train_300K.xyz",
        {"300 K": "acac/test_MD_300K.xyz", "600 K": "acac/test_MD_600K.xyz"},
        "acac/isolated_atoms.xyz",
    ),
    "aspirin": DataSet("rmd17/aspirin_train_01.xyz", {"500 K": "rmd17/aspirin_test_01.xyz"}),
    "malonaldehyde": DataSet("rmd17/malonaldehyde_train_01.xyz", {"500 K": "rmd17/malonaldehyde_test_01.xyz"}),
}


def main() -> None:
    """Train and test what is missing; both kinds by turns, all data and sizes of a seed before the next."""
    options = arguments()
    torch.set_num_threads(1)
    started = environment("float32")
    todo = missing(asked(options), read(options.out)["runs"])
    print(f"{len(todo)} trainings to do, {len(todo) * options.seconds / 60:.0f} minutes of one processor", flush=True)
    for key in todo:
        run = {**key, **one_run(options, key)}
        record(run, started, options.out)
        print(json.dumps(run), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds acac and rmd17")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the fine-tuned kind, in place of RECIPE")
    parser.add_argument("--model", default="organics", help="what fine-tuning begins from")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--frames", type=int, nargs="+", default=[25, 50, 100, 450])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seconds", type=int, default=120, help="of the processor, for each training")
    parser.add_argument("--held-out", action="store_true", help="test on frames of the training file")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "runs" / "fine_tuning", help="where the runs stay")
    parser.add_argument("--out", type=Path, help="result file")
    options = parser.parse_intermixed_args()
    name = "fine_tuning_settings" if options.held_out else "fine_tuning"
    options.out = options.out or RESULTS / f"{name}.json"
    return options


def read(path: Path) -> dict:
    """What a result file has so far."""
    return json.loads(path.read_text()) if path.exists() else {"environments": [], "runs": []}


def asked(options: argparse.Namespace) -> list[dict]:
    """What makes each training of the call a result of its own."""
    of_choice = CANDIDATES if options.held_out else [RECIPE]
    settings = {"scratch": [[]], "fine-tuned": [options.overrides] if options.overrides else of_choice}
    model = {"scratch": None, "fine-tuned": digest_of(options.model)[:12]}
    return [
        {"data": name, "frames": frames, "seed": seed, "kind": kind, "seconds": options.seconds}
        | {"model": model[kind], "settings": words}
        for seed in options.seeds
        for name in options.sets
        for frames in options.frames
        for kind in options.kinds
        for words in settings[kind]
    ]


def missing(keys: list[dict], runs: list[dict]) -> list[dict]:
    """Those of which there is no run yet."""
    return [key for key in keys if not any(all(run[name] == of for name, of in key.items()) for run in runs)]


def record(run: dict, started: dict, path: Path) -> None:
    """Add a run to the result file, which another call may have added to meanwhile, or be about to."""
    with FileLock(path.with_suffix(".lock")):
        results = read(path)
        if started not in results["environments"]:
            results["environments"].append(started)
        results["runs"].append({**run, "environment": results["environments"].index(started)})
        write(results, path)


def one_run(options: argparse.Namespace, key: dict) -> dict:
    """Train in a folder of its own, anew where an earlier call was stopped, and test."""
    mark = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:6]
    folder = options.runs / f"{key['data']}-{key['frames']}-seed{key['seed']}-{key['kind']}-{mark}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    chosen = SETS[key["data"]]
    store, held_out = drawn(options.data, chosen, key, folder)
    begin = [f"train.init_from={model_path(options.model)}", *key["settings"]] if key["kind"] == "fine-tuned" else []
    (folder / "train.yaml").write_text("data: {valid_fraction: 0.1, valid_by: frame}\n")
    words = [f"data.train={store}", f"train.max_time={key['seconds']}", f"seed={key['seed']}", *begin]
    words += [f"output={folder / 'run'}", *processor_clock.ALONE]
    command("train", str(folder / "train.yaml"), *words, program=[processor_clock.__file__])
    tests = {"held out": held_out} if options.held_out else {k: options.data / v for k, v in chosen.tests.items()}
    summary = json.loads((folder / "run" / "summary.json").read_text())
    return {"steps": summary["steps"], "tests": {name: errors(folder, test) for name, test in tests.items()}}


def drawn(data: Path, chosen: DataSet, key: dict, folder: Path) -> tuple[Path, Path]:
    """Stores of the frames to train on, with the isolated atoms where there are any, and of some that are left."""
    frames = open_snapshots(data / chosen.train)
    order = random.Random(key["seed"]).sample(range(len(frames)), len(frames))
    atoms = [] if chosen.atoms is None else list(open_snapshots(data / chosen.atoms))
    few, left = order[: key["frames"]], order[key["frames"] :][:HELD_OUT]
    parts = {"train": [*(frames[i] for i in few), *atoms], "held_out": [frames[i] for i in left]}
    for name, structures in parts.items():
        with StoreWriter(folder / f"{name}.lmdb") as writer:
            for structure in structures:
                writer.add(structure)
            writer.finish({"source": chosen.train, "part": name, "seed": key["seed"]})
    return folder / "train.lmdb", folder / "held_out.lmdb"


def errors(folder: Path, test: Path) -> dict[str, float]:
    """Of the model of a run on a test file: meV of energies, meV/A of components of forces."""
    report = folder / f"{test.stem}.json"
    command("eval", str(folder / "run" / "model.eqt"), str(test), "--json", str(report))
    written = json.loads(report.read_text())
    return {name: round(1e3 * written[name], 2) for name in FIGURES}


def command(*words: str, program=("-m", "equitensor")) -> None:
    """The user's command on one thread; its failure ends this."""
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *program, *words], env=surroundings, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"equitensor {words[0]} failed with exit code {done.returncode}:\n{done.stdout[-2000:]}{done.stderr}")


if __name__ == "__main__":
    main()
