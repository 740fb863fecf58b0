"""Where the time of a training step goes: the model forward and back, and everything else.

    .venv/bin/python benchmarks/training_step.py runs/acac/train.lmdb --batch 10 --threads 1 2

Each number of threads is a process of its own, in turns; with two threads a batch goes through the model in two
shards. Milliseconds of a step, medians and the smallest, by the clock and of the processor: `model` is energies,
forces, residuals and the gradients of the weights, `others` all the rest, from reading the batch to the optimiser and
the average of the weights.
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

WARM_UP = 30
WHOLE_EPOCH = 500  # batches, of which all are read before the clock starts


def main() -> None:
    """Take turns over numbers of threads, print each and append all to the result file."""
    options = arguments()
    if options.worker:
        print(json.dumps(measured(options)))
        return
    found: dict[str, list[dict]] = {str(threads): [] for threads in options.threads}
    for _ in range(options.rounds):
        for threads in options.threads:
            found[str(threads)].append(in_a_process(options, threads))
    result = {threads: joined(rounds) for threads, rounds in found.items()}
    for threads, parts in result.items():
        share = parts["others"]["median"] / parts["step"]["median"]
        text = "  ".join(f"{name} {part['median']:.2f} (least {part['least']:.2f})" for name, part in parts.items())
        print(f"{threads} threads: {text} ms; others {100 * share:.0f} %")
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


def measured(options) -> dict:
    """Milliseconds of the parts of a step in this process."""
    trainer, clock = timed_trainer(options)
    for _ in itertools.islice(trainer.loader, WHOLE_EPOCH):  # neighbour lists, where they are kept
        pass
    gc.collect()
    gc.freeze()  # as a run does
    times: dict[str, list[float]] = {"step": [], "model": [], "others": [], "processor": []}
    with trainer.shards:
        for parts, spent in batches(trainer, WARM_UP + options.steps):
            clock.model = 0.0
            began, processor = time.perf_counter(), time.process_time()
            found, value = trainer.step(parts)
            trainer.live.step(found, value, 0.0)
            step = time.perf_counter() - began + spent
            times["processor"].append(time.process_time() - processor)
            times["step"].append(step)
            times["model"].append(clock.model)
            times["others"].append(step - clock.model)
    kept = {name: [1e3 * each for each in values[WARM_UP:]] for name, values in times.items()}
    return {name: {"median": statistics.median(each), "least": min(each)} for name, each in kept.items()}


def batches(trainer, count: int):
    """(parts of a batch, seconds that reading it took), epoch after epoch."""
    while count > 0:
        iterator = iter(trainer.loader)
        while count > 0:
            began = time.perf_counter()
            parts = next(iterator, None)
            if parts is None:
                break
            yield parts, time.perf_counter() - began
            count -= 1
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
    clock.wrap(trainer.shards, "residuals")
    clock.wrap(trainer, "_backward")
    return trainer, clock


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="what data.train names")
    parser.add_argument("--batch", type=int, help="structures a batch; without it, as training chooses")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the config, key.sub=value")
    parser.add_argument("--note", default="", help="kept with the result")
    parser.add_argument("--out-file", type=Path, help="JSON that the result is appended to")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
