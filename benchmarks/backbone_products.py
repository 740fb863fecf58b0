"""The default model with each tensor product: accuracy, time of a training step and memory, in equal training time.

    .venv/bin/python benchmarks/backbone_products.py acac --train DATA/train_300K.xyz \\
        --test DATA/test_MD_300K.xyz DATA/test_MD_600K.xyz --max-time 00:10:00 --seeds 0 1 2

Each run is one of `accuracy.py`, whose arguments it takes, with model.product=... added: trained and tested through
the command line, one after another, all products with a seed before the next seed. `--show FILE` prints the last
table of a result file.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path

import accuracy
from environment import REPOSITORY, RESULTS, append, environment

from equitensor.training.memory import peak_memory

PRODUCTS = ("cg", "gaunt", "cp")
FIGURES = ("step_ms", "memory_mib", "epochs")


def main() -> None:
    """Train every product with every seed, append one entry to the result file, print the table."""
    choice, options = arguments()
    if choice.show:
        print(table(json.loads(choice.show.read_text())[-1]))
        return
    started, stamp = environment("float32"), datetime.now().strftime("%Y%m%d-%H%M%S")
    runs = {product: [] for product in choice.products}
    for seed in options.seeds:
        for product in choice.products:
            folder = REPOSITORY / "runs" / "backbone_products" / f"{options.recipe}-{stamp}-{product}-seed{seed}"
            runs[product].append(in_fresh_process(options, product, seed, folder))
    settings = {product: repeats[0]["settings"] for product, repeats in runs.items()}
    result = {
        "environment": {**started, "threads": options.threads},
        "recipe": options.recipe,
        "note": options.note,
        "max_time": options.max_time,
        "seeds": options.seeds,
        "overrides": [word for word in options.overrides if "/" not in word],
        "settings": settings,
        "products": {product: summarised(repeats) for product, repeats in runs.items()},
    }
    append(result, options.out or RESULTS / "backbone_products.json")
    print(table(result))


def arguments() -> tuple[argparse.Namespace, argparse.Namespace]:
    """Our own arguments, and those of accuracy.py."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="All other arguments are those of accuracy.py: see its --help.",
    )
    parser.add_argument("--products", nargs="+", choices=PRODUCTS, default=PRODUCTS)
    parser.add_argument("--show", type=Path, help="print the last table of this result file and do nothing else")
    choice, rest = parser.parse_known_args()
    if choice.show:
        return choice, argparse.Namespace()
    sys.argv[1:] = rest
    return choice, accuracy.arguments()


def in_fresh_process(options: argparse.Namespace, product: str, seed: int, folder: Path) -> dict:
    """`one_run` in a process of its own, whose children's peak memory is that of one training."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(one_run, options, product, seed, folder).result()


def one_run(options: argparse.Namespace, product: str, seed: int, folder: Path) -> dict:
    """Errors on every test, milliseconds per training step, MiB of memory, epochs."""
    words = [*options.overrides, f"model.product={product}"]
    accuracy.train(argparse.Namespace(**{**vars(options), "overrides": words}), seed, folder)
    memory = peak_memory(children=True) * 1e6 / 2**20
    run = accuracy.one_run(options, folder)
    batch, summary = run["settings"]["train"]["batch_size"], run["summary"]
    return {
        "seed": seed,
        "tests": run["tests"],
        "step_ms": round(1e3 * batch / summary["structures_per_second"], 2),
        "memory_mib": round(memory),
        "epochs": summary["epochs"],
        "settings": run["settings"],
    }


def summarised(runs: list[dict]) -> dict:
    """The runs without their settings, and the medians over the seeds."""
    kept = [{key: value for key, value in run.items() if key != "settings"} for run in runs]
    medians = {name: statistics.median(run[name] for run in kept) for name in FIGURES}
    return {"runs": kept, "median": {**medians, "tests": accuracy.medians(kept)}}


def table(result: dict) -> str:
    """Markdown: RMSE in meV and meV/A on each test, medians over the seeds."""
    tests = list(next(iter(result["products"].values()))["median"]["tests"])
    lines = [
        f"| product | {' | '.join(f'{test}, meV, meV/A' for test in tests)} | ms per step | memory, MiB | epochs |",
        "| --- |" + " --- |" * (len(tests) + 3),
    ]
    for product, runs in result["products"].items():
        median = runs["median"]
        rows = (median["tests"][test] for test in tests)
        cells = [f"{row['energy_rmse_meV']:.2f}, {row['forces_rmse_meV_per_A']:.2f}" for row in rows]
        cells += [f"{median['step_ms']:.1f}", f"{median['memory_mib']:.0f}", f"{median['epochs']:.0f}"]
        lines.append(f"| {product} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
