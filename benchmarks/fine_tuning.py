"""Fine-tuning on few frames of another molecule and level of theory, beside training from scratch on the same frames.

    .venv/bin/python benchmarks/fine_tuning.py runs/demo/train/model.eqt DATA --frames 25 50 100 --seeds 0 1 2

The model is that of `make demo` (GFN2-xTB, alanine and relatives), DATA the folder of the acetylacetone files (DFT).
Every seed draws its frames anew from train_300K.xyz; both kinds of run see the same frames, of which a tenth is held
out, for the same number of steps. Everything goes through the user's command line; the runs stay under
runs/fine_tuning. Words with "=" behind the options go to both kinds of training.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import ase.io
from environment import REPOSITORY, RESULTS, append, environment

BATCH = 10
FIGURES = {"energy_rmse": "energy_rmse_meV", "forces_rmse": "forces_rmse_meV_per_A"}


def main() -> None:
    """Run every number of frames with every seed, print the medians, append one entry to the result file."""
    options = arguments()
    started = environment("float32")
    folder = options.runs / datetime.now().strftime("%Y%m%d-%H%M%S")
    rows = []
    for seed in options.seeds:  # all sizes of one seed before the next
        for count in options.frames:
            frames = drawn(options.data, count, seed, folder / f"frames-{count}-seed{seed}.xyz")
            for kind, words in kinds(options).items():
                rows.append(one_run(options, folder, frames, (count, seed, kind), words))
                print(json.dumps(rows[-1]), flush=True)
    result = {
        "environment": started,
        "steps": options.steps,
        "overrides": [word for word in options.overrides if "/" not in word],
        "note": options.note,
        "runs": rows,
        "median": medians(rows),
    }
    append(result, options.out)
    print(table(json.loads(options.out.read_text())))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the model to start from")
    parser.add_argument("data", type=Path, help="folder with train_300K.xyz, isolated_atoms.xyz, test_MD_*.xyz")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="go to both kinds of `equitensor train`")
    parser.add_argument("--frames", type=int, nargs="+", default=[25, 50, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", choices=["scratch", "fine-tuned"], help="one kind alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--note", default="", help="one line kept with the figures")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "runs" / "fine_tuning", help="where the runs stay")
    parser.add_argument("--out", type=Path, default=RESULTS / "fine_tuning.json")
    return parser.parse_intermixed_args()


def kinds(options) -> dict[str, list[str]]:
    """What each kind of training adds to the command."""
    overrides = {"scratch": [], "fine-tuned": [f"train.init_from={options.model}"]}
    return {kind: words for kind, words in overrides.items() if options.only in (None, kind)}


def drawn(data: Path, count: int, seed: int, out: Path) -> Path:
    """A file with so many frames, and the isolated atoms, which training takes as E0s."""
    frames = ase.io.read(data / "train_300K.xyz", ":")
    chosen = random.Random(seed).sample(frames, count)
    out.parent.mkdir(parents=True, exist_ok=True)
    ase.io.write(out, [*chosen, *ase.io.read(data / "isolated_atoms.xyz", ":")], format="extxyz")
    return out


def one_run(options, folder: Path, frames: Path, which, words) -> dict:
    """Train, and test at both temperatures."""
    count, seed, kind = which
    output = folder / f"{kind}-{count}-seed{seed}"
    config = folder / "train.yaml"
    config.write_text("data: {valid_fraction: 0.1, valid_by: frame}\n")
    epochs = round(options.steps / max(1, (count - max(1, count // 10)) // BATCH))
    settings = [f"data.train={frames}", f"train.batch_size={BATCH}", f"train.max_epochs={epochs}", f"seed={seed}"]
    settings += [f"train.threads={options.threads}", f"output={output}", *words, *options.overrides]
    equitensor(options, "train", str(config), *settings)
    summary = json.loads((output / "summary.json").read_text())
    row = {"frames": count, "seed": seed, "kind": kind, "steps": summary["steps"], "seconds": summary["seconds"]}
    for test in ("test_MD_300K", "test_MD_600K"):
        report = output / f"{test}.json"
        equitensor(options, "eval", str(output / "model.eqt"), str(options.data / f"{test}.xyz"), "--json", str(report))
        written = json.loads(report.read_text())
        row[test] = {name: round(1e3 * written[key], 2) for key, name in FIGURES.items()}
    return row


def equitensor(options, *words: str) -> None:
    surroundings = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(
        [sys.executable, "-m", "equitensor", *words], env=surroundings, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"equitensor {words[0]} failed with exit code {done.returncode}:\n{done.stderr}")


def medians(rows: list[dict]) -> list[dict]:
    """Over the seeds, for each number of frames and kind."""
    summary = []
    for frames, kind in dict.fromkeys((row["frames"], row["kind"]) for row in rows):
        same = [row for row in rows if (row["frames"], row["kind"]) == (frames, kind)]
        tests = {
            test: {name: statistics.median(row[test][name] for row in same) for name in FIGURES.values()}
            for test in ("test_MD_300K", "test_MD_600K")
        }
        summary.append({"frames": frames, "kind": kind, "seeds": len(same), **tests})
    return summary


def table(results: list[dict]) -> str:
    """Medians over the seeds of all entries alike in steps and settings, as a table of the documentation."""
    lines = [
        "| frames | | seeds, steps | 300 K: energy, forces | 600 K: energy, forces |",
        "| --- | --- | --- | --- | --- |",
    ]
    alike: dict[tuple, list[dict]] = {}
    for result in results:
        alike.setdefault((result["steps"], *result["overrides"]), []).extend(result["runs"])
    for (steps, *_), runs in alike.items():
        for row in medians(sorted(runs, key=lambda run: run["frames"])):
            cells = [str(row["frames"]), row["kind"], f"{row['seeds']}, {steps}"]
            for test in ("test_MD_300K", "test_MD_600K"):
                cells.append(", ".join(f"{value:.1f}" for value in row[test].values()))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
