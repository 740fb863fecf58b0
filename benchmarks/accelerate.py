"""Whole models of MACE and NequIP, as they are and accelerated: force evaluations and training steps.

    .venv-mace/bin/python benchmarks/accelerate.py
    .venv-nequip/bin/python benchmarks/accelerate.py

Both take turns in one process on the same batch. Times are of this process's processor, which other work on the
machine disturbs less than the clock; the ratio is of medians. float32, 1 thread, unless the options say otherwise.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerated_models import peers, structures, training_step
from environment import RESULTS, append, environment

from equitensor.interfaces import accelerate

WARM_UP = 4  # TorchScript, which e3nn uses, optimises in the first calls


def main() -> None:
    """Time every model on every structure, print the ratios and append them to the result file."""
    options = arguments()
    torch.set_num_threads(options.threads)
    rows = []
    for name, (build, batch, call) in peers().items():
        if options.model not in name:
            continue
        theirs = build(options.dtype)
        ours = copy.deepcopy(theirs)
        swaps = accelerate(ours)
        print(f"{name}: {len(swaps.swapped)} modules replaced, {len(swaps.left)} left")
        for title, frames in structures().items():
            if options.structure in title:
                given = batch(frames, options.dtype)
                for row in compare({"theirs": theirs, "ours": ours}, given, call, options.rounds):
                    rows.append({"model": name, "structure": title, **row})
                    show(rows[-1])
    append({"environment": environment(options.dtype), "rows": rows}, options.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--model", default="", help="only models with this in their name")
    parser.add_argument("--structure", default="", help="only structures with this in their name")
    parser.add_argument("--out", type=Path, default=RESULTS / "accelerate.json")
    return parser.parse_args()


def compare(models: dict, batch: dict, call: Callable, rounds: int) -> list[dict]:
    """One row for force evaluations and one for training steps of one batch."""
    forces = {which: call(model, batch, False)["forces"].detach() for which, model in models.items()}
    error = float((forces["ours"] - forces["theirs"]).norm() / forces["theirs"].norm())
    rows = []
    for task, run in (("forces", lambda model: call(model, batch, False)), ("training", training_of(call, batch))):
        times = medians({which: bound(run, model) for which, model in models.items()}, rounds)
        row = {"edges": batch["edge_index"].shape[1], "task": task, "milliseconds": times}
        row |= {"times faster": round(times["theirs"] / times["ours"], 2), "difference of forces": error}
        rows.append(row)
    return rows


def show(row: dict) -> None:
    times, ratio = row["milliseconds"], row["times faster"]
    name = f"{row['model']:28} {row['structure']:12} {row['task']:8}"
    print(f"{name} {times['theirs']:9.1f} {times['ours']:9.1f} ms {ratio:6.2f}x", flush=True)


def training_of(call: Callable, batch: dict) -> Callable:
    return lambda model: training_step(call, model, batch)


def bound(run: Callable, model: torch.nn.Module) -> Callable:
    return lambda: run(model)


def medians(candidates: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Milliseconds of processor time of one call of each."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(WARM_UP + rounds):
        for name, call in candidates.items():
            began = time.process_time()
            call()
            if turn >= WARM_UP:
                times[name].append(1e3 * (time.process_time() - began))
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


if __name__ == "__main__":
    main()
