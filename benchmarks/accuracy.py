"""Accuracy per time of a recipe: train it with several seeds for a given wall time, and test it.

    .venv/bin/python benchmarks/accuracy.py acac model.product=cg --train DATA/train_300K.xyz \\
        --test DATA/test_MD_300K.xyz DATA/test_MD_600K.xyz --max-time 00:10:00 --seeds 0 1 2

Everything goes through the user's command line: `equitensor train datasets/RECIPE/train.yaml ...` and
`equitensor eval`. Words with "=" behind the recipe override it. The runs stay under runs/accuracy.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import processor_clock
import torch
import yaml
from environment import REPOSITORY, RESULTS, append, environment

PER_STRUCTURE = ("energy_rmse", "energy_mae")
PER_COMPONENT = ("forces_rmse", "forces_mae")


def main() -> None:
    """Run every seed, print a table, append one entry to the result file."""
    options = arguments()
    torch.set_num_threads(options.threads)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    started = environment("see settings")
    folders = options.finished or [options.runs / f"{options.recipe}-{stamp}-seed{seed}" for seed in options.seeds]
    if not options.finished:
        for seed, folder in zip(options.seeds, folders, strict=True):
            train(options, seed, folder)
    runs = [one_run(options, folder) for folder in folders]
    settings = runs[0].pop("settings")
    for run in runs[1:]:
        run.pop("settings")
    result = {
        "environment": {**started, "dtype": settings.get("train", {}).get("dtype", "see settings")},
        "recipe": options.recipe,
        "note": options.note,
        "max_time": options.max_time,
        "processor_time": options.processor_time,
        "overrides": [word for word in options.overrides if "/" not in word],
        "settings": settings,
        "runs": runs,
        "median": medians(runs),
    }
    out = options.out or RESULTS / f"accuracy_{options.recipe}.json"
    append(result, out)
    report(result)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="name of a folder in datasets/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="go to `equitensor train` as they are")
    parser.add_argument("--train", help="training data (data.train); validation is split from it")
    parser.add_argument("--test", required=True, nargs="+", type=Path, help="test files, named by their stem")
    parser.add_argument("--max-time", default="00:10:00", help="wall time of each training, HH:MM:SS")
    parser.add_argument("--processor-time", action="store_true", help="--max-time of one thread's processor instead")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--finished", type=Path, nargs="+", help="run folders to test in place of training with seeds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--note", default="", help="one line kept with the figures")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "runs" / "accuracy", help="where the runs stay")
    parser.add_argument("--out", type=Path, help="result file (default: results/accuracy_RECIPE.json)")
    options = parser.parse_intermixed_args()
    wrong = [word for word in options.overrides if "=" not in word]
    if wrong:
        parser.error(f"{wrong[0]!r} is no key=value")
    if not (options.train or options.finished):
        parser.error("give the training data with --train, or runs that are done with --finished")
    return options


def train(options: argparse.Namespace, seed: int, output: Path) -> None:
    """Train with one seed, by the user's command."""
    words = [f"data.train={options.train}", f"train.max_time={options.max_time}", f"seed={seed}"]
    words += [f"output={output}", *options.overrides]
    recipe = str(REPOSITORY / "datasets" / options.recipe / "train.yaml")
    if options.processor_time:
        equitensor(options, "train", recipe, *words, *processor_clock.ALONE, command=[processor_clock.__file__])
    else:
        equitensor(options, "train", recipe, *words)


def one_run(options: argparse.Namespace, output: Path) -> dict:
    """Test one run; gives errors, wall time, the summary's numbers, the settings."""
    summary, config = json.loads((output / "summary.json").read_text()), output / "config.yaml"
    return {
        "seed": yaml.safe_load(config.read_text())["seed"],
        "tests": {path.stem: errors(options, output, path) for path in options.test},
        "summary": figures(summary),
        "settings": settings(config),
    }


def equitensor(options: argparse.Namespace, *words: str, command: Sequence[str] = ("-m", "equitensor")) -> None:
    """Run the command line of this environment on so many threads; its failure is ours."""
    surroundings = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run([sys.executable, *command, *words], env=surroundings)
    if done.returncode:
        sys.exit(f"equitensor {words[0]} failed with exit code {done.returncode}")


def errors(options: argparse.Namespace, output: Path, test: Path) -> dict:
    """Errors on one test file: meV per structure, meV/A per force component."""
    report = output / f"eval-{test.stem}.json"
    equitensor(options, "eval", str(output / "model.eqt"), str(test), "--json", str(report))
    written = json.loads(report.read_text())
    row = {f"{name}_meV": round(1e3 * written[name], 3) for name in PER_STRUCTURE}
    row |= {f"{name}_meV_per_A": round(1e3 * written[name], 3) for name in PER_COMPONENT}
    return {**row, "structures": written["n_structures"]}


def figures(tree):
    """The figures of a nested summary, its texts (which may be paths) left out."""
    if isinstance(tree, dict):
        kept = {key: figures(value) for key, value in tree.items()}
        return {key: value for key, value in kept.items() if value is not None}
    return tree if isinstance(tree, int | float) else None


def settings(config: Path) -> dict:
    """The resolved settings of a run, without where its data lie."""
    tree = yaml.safe_load(config.read_text())
    return {section: tree[section] for section in ("model", "train", "loss") if section in tree}


def medians(runs: list[dict]) -> dict:
    """Median over the seeds of every figure of every test."""
    return {
        test: {name: statistics.median(run["tests"][test][name] for run in runs) for name in row}
        for test, row in runs[0]["tests"].items()
    }


def report(result: dict) -> None:
    """Print RMSE of every seed and of the median."""
    rows = [(f"seed {run['seed']}", run["tests"]) for run in result["runs"]] + [("median", result["median"])]
    print(f"{'':10} {'test':24} {'meV':>9} {'meV/A':>9}   (RMSE)")
    for name, tests in rows:
        for test, row in tests.items():
            print(f"{name:10} {test:24} {row['energy_rmse_meV']:9.2f} {row['forces_rmse_meV_per_A']:9.2f}")


if __name__ == "__main__":
    main()
