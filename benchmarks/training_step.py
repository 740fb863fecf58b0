"""Where the time of a training step goes: the model forward and back, and everything else.

    .venv/bin/python benchmarks/training_step.py runs/acac/train.lmdb --batch 10 --threads 1 2 [--beside OTHER_TREE]

Each number of threads is a process of its own, in turns; with two threads a batch goes through the model in two
shards. Milliseconds, medians and the smallest: `step` is all from reading the batch to the optimiser and the average of
the weights, `model` energies, forces, residuals and the gradients of the weights, in every second step, which does
nothing else meanwhile, and `others` what the median step takes longer. `run` is the time from step to step in
`equitensor train`, here and, in turns, in another tree of the package, with its core built.
"""

import argparse
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from equitensor.training.waiting import Ahead

WARM_UP = 30
WHOLE_EPOCH = 500  # batches, of which all are read before the clock starts


def main() -> None:
    """Take turns over numbers of threads and trees, print each and append all to the result file."""
    options = arguments()
    if options.worker:
        print(json.dumps(measured(options)))
        return
    results: dict[str, list[dict]] = {}
    for _ in range(options.rounds):
        for threads in options.threads:
            results.setdefault(f"{threads} threads", []).append(in_a_process(options, threads))
            for tree in options.beside:
                run = {"run": run_of(tree.resolve(), options, threads)}
                results.setdefault(f"{threads} threads, {tree.name}", []).append(run)
            if options.beside:
                results[f"{threads} threads"][-1]["run"] = run_of(Path(__file__).resolve().parents[1], options, threads)
    result = {name: joined(rounds) for name, rounds in results.items()}
    for name, parts in result.items():
        text = "  ".join(f"{part} {ms['median']:.2f} (least {ms['least']:.2f})" for part, ms in parts.items())
        share = f"; others {100 * parts['others']['median'] / parts['step']['median']:.0f} %" if "step" in parts else ""
        print(f"{name}: {text} ms{share}")
    if options.out_file:
        from environment import append, environment

        data = {"data": options.data.name, "batch": options.batch, "settings": options.set, "note": options.note}
        append({"environment": environment(options.dtype), **data, "ms": result}, options.out_file)


def in_a_process(options, threads: int) -> dict:
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", "--threads", str(threads)]
    variables = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def joined(rounds: list[dict]) -> dict:
    return {
        name: {
            "median": round(statistics.median(each[name]["median"] for each in rounds), 3),
            "least": round(min(each[name]["least"] for each in rounds), 3),
        }
        for name in rounds[0]
    }


RUN = """
import json, sys, time
from equitensor.cli import main
from equitensor.training.trainer import Trainer
step, began = Trainer.step, []
def timed(self, *arguments):
    began.append((self.progress.epoch, time.perf_counter()))
    return step(self, *arguments)
Trainer.step = timed
main(sys.argv[1:])
pairs = zip(began, began[1:])
print(json.dumps([1e3 * (after - before) for (epoch, before), (same, after) in pairs if epoch == same]))
"""


def run_of(tree: Path, options, threads: int) -> dict:
    """Milliseconds from step to step of a run of `equitensor train`, with the package of this tree."""
    folder = Path(tempfile.mkdtemp())
    (folder / "config.yaml").write_text(f"data: {{train: {options.data.resolve()}}}\n")
    given = [f"train.dtype={options.dtype}", f"output={folder / 'run'}", f"train.max_epochs={options.epochs}"]
    given += [f"train.threads={threads}", *([f"train.batch_size={options.batch}"] if options.batch else [])]
    command = [sys.executable, "-c", RUN, "train", str(folder / "config.yaml"), *given, *options.set]
    variables = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=variables, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    times = json.loads(done.stdout.splitlines()[-1])[WARM_UP:]
    return {"median": statistics.median(times), "least": min(times)}


def measured(options) -> dict:
    """Milliseconds of the parts of a step in this process."""
    trainer, clock = timed_trainer(options)
    for _ in itertools.islice(trainer.loader, WHOLE_EPOCH):  # neighbour lists, where they are kept
        pass
    gc.collect()
    gc.freeze()  # as a run does
    with trainer.shards:
        times = list(steps(trainer, clock, 2 * (WARM_UP + options.steps)))[2 * WARM_UP :]
    step, model = ([1e3 * pair[k] for pair in times[k::2]] for k in (0, 1))
    result = {
        name: {"median": statistics.median(ms), "least": min(ms)} for name, ms in (("step", step), ("model", model))
    }
    return result | {"others": {key: result["step"][key] - result["model"][key] for key in ("median", "least")}}


def steps(trainer, clock, count: int):
    """Seconds of a step and of the model in it, epoch after epoch; every second one fetches nothing meanwhile."""
    done = 0
    while done < count:
        batches = Ahead(trainer.loader)
        iterator = iter(batches)
        while done < count:
            clock.model, began = 0.0, time.perf_counter()
            parts = next(iterator, None)
            if parts is None:
                break
            errors, value = trainer.step(parts, None if done % 2 else batches.fetch)
            trainer.live.step(errors, value, 0.0)
            if done % 2 == 0:
                batches.fetch()  # on one thread, where nothing waits meanwhile
            yield time.perf_counter() - began, clock.model
            done += 1
            if done % 2 == 0:
                batches.fetch()  # as the step before it would have
        trainer.sampler.epoch += 1


class Clock:
    """Seconds in the functions that it wraps."""

    model = 0.0

    def wrap(self, owner, name: str) -> None:
        function = getattr(owner, name)

        def call(*arguments, **options):
            began = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.model += time.perf_counter() - began

        setattr(owner, name, call)


def timed_trainer(options):
    import torch
    from lightning.fabric import Fabric

    from equitensor.training.config import load_config
    from equitensor.training.fit import _optimizer, make_console
    from equitensor.training.progress import Progress
    from equitensor.training.setup import build_model, open_data
    from equitensor.training.trainer import Trainer

    folder = Path(tempfile.mkdtemp())
    given = [f"train.dtype={options.dtype}", f"output={folder}", *options.set]
    if options.batch:
        given.append(f"train.batch_size={options.batch}")
    config_file = folder / "config.yaml"
    config_file.write_text(f"data: {{train: {options.data.resolve()}}}\n")
    config = load_config(config_file, given)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    console = make_console(quiet=True)
    data = open_data(config, console)
    model = build_model(config, data)
    fabric = Fabric(accelerator="cpu", devices=1)
    trainer = Trainer(config, fabric, model, _optimizer(model, config, console), data)
    trainer.attach(folder, Progress(started=time.monotonic()), console, {}, None)
    clock = Clock()
    clock.wrap(trainer.shards, "backward")
    return trainer, clock


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="what data.train names")
    parser.add_argument("--batch", type=int, help="structures a batch; without it, as training chooses")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=Path, nargs="*", default=[], help="trees of the package, each with its core")
    parser.add_argument("--epochs", type=int, default=4, help="of the runs beside it")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the config, key.sub=value")
    parser.add_argument("--note", default="", help="kept with the result")
    parser.add_argument("--out-file", type=Path, help="JSON that the result is appended to")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
