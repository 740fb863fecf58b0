"""One training run, from config to a folder with the best model, its errors and its pictures."""

import contextlib
import errno
import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from lightning.fabric import Fabric
from rich.console import Console

from equitensor import models
from equitensor.errors import InputError, WriteError
from equitensor.training.baseline import baseline
from equitensor.training.checkpoint import read_checkpoint, run_folder, write_inputs
from equitensor.training.config import Config
from equitensor.training.config_sections import seconds
from equitensor.training.evaluation import evaluate
from equitensor.training.label_checks import check_predicted
from equitensor.training.largest_step import largest_step
from equitensor.training.many_elements import as_begun
from equitensor.training.optimizers import build_optimizer
from equitensor.training.origin import Origin
from equitensor.training.parts import parts_table
from equitensor.training.plots import plot_learning
from equitensor.training.pretrained import with_model_of_file
from equitensor.training.progress import Progress
from equitensor.training.ranks import Ranks, rank_options, started_ranks
from equitensor.training.report import error_table, left_out
from equitensor.training.setup import MOST_TRAIN, TRAINED, RunData, build_model, open_data, origin_of
from equitensor.training.shard_process import end_idle, give_back, taken
from equitensor.training.trainer import Trainer
from equitensor.versions import versions
from equitensor.whole_file import reason, write_whole

DEFAULT_EPOCHS = 200
_DISK_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def fit(
    config: Config,
    resume: Path | None = None,
    started: float | None = None,
    beside: Callable[[Path], AbstractContextManager] | None = None,
) -> dict:
    """Train, evaluate the best model, write everything to the run folder, and return the summary.

    started (a value of time.monotonic()) is when the clock of train.max_time started; beside(folder) is a context
    manager in which the first rank trains. Raises InputError for errors that the user can fix: data, config, a run
    folder that is not empty.
    """
    config = with_model_of_file(as_begun(config, resume), resume)
    console = make_console()
    progress = Progress(started=time.monotonic() if started is None else started)
    accelerator = _device(config)
    fabric = Fabric(accelerator=accelerator, **rank_options(accelerator))
    fabric.launch()
    ranks = Ranks(fabric)
    if not ranks.is_first:
        console = make_console(quiet=True)
    with contextlib.ExitStack() as stack:
        folder = Path(resume or config.output)
        if ranks.is_first:
            stack.enter_context(run_folder(config, resume))
            if beside is not None:
                stack.enter_context(beside(folder))
            stack.enter_context(_disk_failures_explained(folder))
        ranks.wait()
        return _fit(config, folder, resume, fabric, progress, console)


def _fit(config: Config, folder: Path, resume: Path | None, fabric, progress: Progress, console) -> dict:
    state = None if resume is None else read_checkpoint(folder)
    origin = None if state is None else Origin.of(state, folder)
    data = open_data(config, console, origin, folder, fabric.world_size)
    config = data.config
    model = build_model(config, data, origin)
    data.trained = check_predicted(data.trained, model, data.train, console)
    console.print(_describe(model, config, fabric))
    trainer = Trainer(config, fabric, model, _optimizer(model, config, console), data)
    _set_length(progress, config)
    if trainer.ranks.is_first:
        origin = origin or origin_of(data, model, _before(data, trainer, console))
        if resume is None:
            write_inputs(folder, config, {"train": origin.train.tolist(), "valid": origin.valid.tolist()})
    trainer.attach(folder, progress, console, _provenance(config, data), origin)
    if state is not None:
        trainer.restore(state)
    trainer.run()
    trainer.ranks.part()
    return _finish(folder, data, trainer, console) if trainer.ranks.is_first else {}


@contextlib.contextmanager
def _disk_failures_explained(folder: Path):
    """A full or failing disk is no reason to lose a run: says what is there and how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FAILURES:
            raise
        where = error.filename or folder
        failure = WriteError(f"{where} could not be written ({reason(error)}): is the disk full or read-only?")
    except WriteError as error:
        failure = error
    else:
        return
    if (folder / "last.ckpt").is_file():
        advice = f"The run is complete up to its last checkpoint: fix this, then continue with --resume {folder}"
    else:
        advice = "Nothing was trained yet: fix this, or choose another folder (output=...)"
    raise WriteError(f"{failure} {advice}") from None


def check(config: Config) -> dict:
    """Open the data, print their coverage, take steps on the largest batches, and report the memory they took.

    With several ranks only the first does this, for itself; the others return nothing.
    """
    config = with_model_of_file(config)
    accelerator = _device(config)  # refused before data are read
    rank, ranks = started_ranks(accelerator)
    if rank > 0:
        return {}
    console = make_console()
    data = open_data(config, console, ranks=ranks)
    config = data.config
    model = build_model(config, data)
    check_predicted(data.trained, model, data.train, console)
    fabric = Fabric(accelerator=accelerator, devices=1)
    console.print(_describe(model, config, fabric))
    trainer = Trainer(config, fabric, model, _optimizer(model, config, console), data)
    largest = largest_step(trainer)
    console.print(
        f"largest batch: {largest['structures']} structures, {largest['atoms']} atoms, {largest['edges']} edges; "
        f"one step {largest['seconds']:.2f} s, memory about {largest['megabytes']:.0f} MB"
        f"{' on each rank' if ranks > 1 else ''}. Everything is in order."
    )
    return largest


def _optimizer(model, config: Config, console):
    """The optimiser; says what it trains, and how fast, where that is more than one fresh model at one rate."""
    train = config.train
    optimizer = build_optimizer(model, train.optimizer, train.lr, train.weight_decay)
    if train.by_part:
        console.print(parts_table(model, optimizer, train))
    return optimizer


def make_console(quiet: bool = False) -> Console:
    """As wide as the terminal; 140 columns in a log file."""
    return Console(quiet=quiet, width=None if sys.stdout.isatty() else 140)


def _device(config: Config) -> str:
    """The accelerator; on the CPU with the threads of the config, and the process of a second shard starts while data
    are read, if it has not yet."""
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    accelerator = _accelerator(config.train.device)
    if accelerator == "cpu" and torch.get_num_threads() > 1:
        give_back(taken(1))
    else:
        end_idle()
    return accelerator


def _accelerator(device: str) -> str:
    if device not in ("auto", "cpu", "cuda", "gpu"):
        raise InputError(f"train.device is {device!r}: say auto, cpu or cuda")
    if device in ("cuda", "gpu") and not torch.cuda.is_available():
        raise InputError(f"train.device is {device!r}, but torch sees no GPU here: say auto or cpu")
    return {"auto": "cuda" if torch.cuda.is_available() else "cpu", "gpu": "cuda"}.get(device, device)


def _set_length(progress: Progress, config: Config) -> None:
    epochs, clock = config.train.max_epochs, config.train.max_time
    if epochs is None and clock is None:
        epochs = DEFAULT_EPOCHS
    if epochs is not None:
        progress.epochs = epochs
    if clock is not None:
        progress.max_seconds = seconds(clock)


def _describe(model, config, fabric) -> str:
    count = sum(p.numel() for p in model.parameters())
    return (
        f"model: {model.settings['architecture']}, {count} parameters, {config.train.dtype}; "
        f"device {fabric.device}, {torch.get_num_threads()} threads"
    )


def _provenance(config: Config, data: RunData) -> dict:
    tuned = {} if data.pretrained is None else {"fine_tuning": data.pretrained.notes}
    return tuned | {
        "config": config.resolved(),
        "labels": data.trained,
        "batch_size": data.batch_limits.structures,
        "batch_edges": data.batch_limits.edges,
        "batches_a_step": data.batches_a_step,
        "e0s": data.e0s.origin,
        "training_structures": len(data.train),
        "validation_structures": 0 if data.valid is None else len(data.valid),
        "versions": versions(),
    }


def _few(name: str, indices):
    """Those of a part whose errors are computed at the end."""
    return indices[:: -(-len(indices) // MOST_TRAIN)] if name in TRAINED else indices


def _shape(data: RunData) -> dict:
    """That of batches, as `evaluate` takes it."""
    return {"batch_size": data.batch_limits.structures, "batch_edges": data.batch_limits.edges}


def _before(data: RunData, trainer, console) -> dict[str, dict]:
    """Errors of a model that is trained already, by part of the data, before it is trained further."""
    if data.pretrained is None:
        return {}
    model, rows = trainer.ema.module, {}
    for name, snapshots, indices in data.parts():
        few, d3 = _few(name, indices), data.d3.get(name)
        evaluation = evaluate(model, snapshots, few, **_shape(data), keep=False, d3=d3)
        rows[name] = evaluation.metrics
    console.print(error_table(rows, "Errors before the first step"))
    return json.loads(json.dumps(rows))  # plain numbers, which a checkpoint keeps


def _finish(folder: Path, data: RunData, trainer, console) -> dict:
    """The closing table, pictures and summary of the best model."""
    model = models.load(folder / "model.eqt", device=trainer.fabric.device, without_d3=True)
    rows, shown = {}, None
    for name, snapshots, indices in data.parts():
        if before := trainer.origin.before.get(name):
            rows[f"{name}, before the first step"] = before
        few = _few(name, indices)
        shape, d3 = _shape(data), data.d3.get(name)
        evaluation = evaluate(model, snapshots, few, **shape, keep=name not in TRAINED, d3=d3)
        for elements, count in evaluation.excluded.items():
            console.print(f"[yellow]warning:[/] {left_out(elements, count)}, from {name}")
        rows[name if len(few) == len(indices) else f"{name} (of {len(indices)})"] = evaluation.metrics
        if name not in TRAINED:
            shown = evaluation
            rows[f"{name}, E0s and zero forces"] = baseline(snapshots, indices, data.e0s.values)
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    plot_learning(folder / "metrics.csv", plots / "learning.png")
    if shown is not None:
        shown.plot(plots, dict(zip(model.elements, model.e0s.tolist(), strict=True)))
    progress = trainer.progress
    summary = {
        "errors": rows,
        "epochs": progress.epoch,
        "steps": progress.step,
        "seconds": round(progress.elapsed, 1),
        "structures_per_second": round(trainer.speed, 1),
    }
    write_whole(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    console.print(error_table(rows, "Errors of the best model", shown is not None and shown.has_tags))
    if progress.step == 0:
        console.print(
            "[yellow]warning:[/] train.max_time left no time for a single step: the model is untrained; give it more"
        )
    console.print(
        f"{progress.epoch} epochs, {progress.step} steps in {progress.elapsed:.0f} s, "
        f"{trainer.speed:.0f} structures/s\nmodel: {folder / 'model.eqt'}\nplots: {plots}"
    )
    return summary
