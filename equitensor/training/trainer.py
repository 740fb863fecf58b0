"""The loop: steps, validation, checkpoints, all paced by the run's progress.

Lightning's Fabric moves data and joins ranks; the loop is ours, because the schedule, the validations and the end of a
run follow the clock, which Lightning's Trainer counts in epochs and steps.
"""

import gc
import math
import os
import time
from functools import partial
from pathlib import Path

import torch

from equitensor import models
from equitensor.data import graph_loader
from equitensor.errors import InputError
from equitensor.training.checkpoint import write_checkpoint
from equitensor.training.config import Config
from equitensor.training.live import Live
from equitensor.training.loss import requests
from equitensor.training.metrics_log import MetricsLog
from equitensor.training.origin import Origin
from equitensor.training.progress import Progress
from equitensor.training.sampler import BatchSampler
from equitensor.training.setup import MOST_TRAIN, TRAINED
from equitensor.training.shards import in_parts, split
from equitensor.training.steps import Steps
from equitensor.training.validation import ValidationErrors, own_graphs
from equitensor.training.waiting import Ahead, Waiting, spare_cores

VALIDATION_SHARE = 0.03  # of the time, at most, unless an epoch is longer
VALIDATION_STEP = 0.02  # of the run between two validations, at least
VALIDATION_COST = 1 / 3  # of a structure, in structures that are trained on: by this count runs without a clock
CHECKPOINT_EVERY = 60.0  # seconds


class Trainer(Steps):
    """Trains one potential; `attach` gives it a folder and a schedule, `run` does the rest."""

    def __init__(self, config: Config, fabric, model, optimizer, data) -> None:
        super().__init__(config, fabric, model, optimizer, data)
        self.sampler = BatchSampler(
            data.sizes, data.batch_limits, config.seed, data.batches_a_step, self.ranks.rank, self.ranks.count
        )
        self.collate = partial(in_parts, limits=data.batch_limits, count=self.shards.count)
        workers = config.data.num_workers
        self.waiting = Waiting() if workers == "auto" else None
        self._load(0 if workers == "auto" else workers)
        self.best, self.since_best = float("inf"), 0
        self.trained, self.train_seconds = 0, 0.0

    def _load(self, workers: int) -> None:
        """Let so many processes read ahead from where the sampler is; 0: this one, when a step asks."""
        self.workers = workers
        self.loader = graph_loader(
            self.data.train,
            batch_sampler=self.sampler,
            collate_fn=self.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def end_readers(self) -> None:
        """Now; left to the garbage collector they take 5 s each."""
        del self.loader

    def attach(self, folder: Path, progress: Progress, console, provenance: dict, origin: Origin | None) -> None:
        """The folder of the run and what is written there; without an origin, as of other ranks, no checkpoint."""
        self.folder, self.progress, self.provenance, self.origin = folder, progress, provenance, origin
        self.live = Live(console, progress)
        self.log = MetricsLog(folder, self.config.train.loggers if self.ranks.is_first else ())
        self.last_validation = self.last_checkpoint = time.monotonic()
        self.validation_seconds, self.validated = float("inf"), (0.0, 0)  # how far the run was, and its epoch
        self.recorded = -1  # the step of the last row of metrics.csv

    @property
    def speed(self) -> float:
        """Training structures a second, over the steps alone."""
        return self.trained / max(self.train_seconds, 1e-9)

    @property
    def finished(self) -> bool:
        return self.now >= 1.0

    @property
    def out_of_patience(self) -> bool:
        return self.config.train.patience is not None and self.since_best >= self.config.train.patience

    def _read_clock(self) -> None:
        """How far the run is, by the clock of rank 0: all ranks take the same steps and stop at the same one."""
        fraction = 1.0 if self.out_of_patience else self.progress.fraction
        (self.now,) = self.ranks.first(fraction)

    def run(self) -> None:
        """Train to the end of the schedule; model.eqt and last.ckpt are up to date when this returns."""
        gc.freeze()  # modules and data that are here to stay need not be searched for garbage at every step
        try:
            with self.shards:
                self._run()
        finally:
            gc.unfreeze()

    def _run(self) -> None:
        self.build_graphs()
        self._read_clock()
        if self.progress.step == 0:
            self._checkpoint()  # a run that is killed from here on can be resumed
        if self.progress.step == 0 != self.recorded and self.config.train.init_from is not None:
            self._validate_and_save()  # a model that training only makes worse is kept as it is
        else:
            self._validate()  # says what a validation costs, and with it the closing evaluation
            self._reserve()
        with self.live:
            while not self.finished:
                self.sampler.epoch = self.progress.epoch
                self._epoch()
        self._end_epoch()  # of a run that was killed after its last step
        self.end_readers()
        if self.recorded != self.progress.step:  # it is, where a run is resumed that was killed after this
            self._validate_and_save()
        self.log.close()

    def build_graphs(self) -> None:
        """Those that are kept, which else the first steps and the first validation, that are timed, would wait for."""
        for dataset in (self.data.train, self.data.valid):
            if dataset is not None and dataset.keeps_graphs:
                for i in range(len(dataset)):
                    dataset[i]

    def _epoch(self) -> None:
        self._steps()
        if not self._end_epoch():
            return  # the run is over, or goes on with other workers
        if self.ranks.first(self._validation_is_due())[0] and not self.finished:
            self._validate_and_save()

    def _steps(self) -> None:
        """Those left of this epoch, up to the end of the run or a change of workers."""
        batches = Ahead(self.loader)
        for parts in batches:
            waited, began = batches.seconds, time.monotonic()
            residuals, value = self.step(parts, batches.fetch)
            busy = min(self.ranks.count, self.data.batches_a_step)
            self.trained += sum(graph.num_graphs for part in parts for graph in part.graphs) * busy
            taken = time.monotonic() - began
            self.train_seconds += taken
            self.progress.step += 1
            self.sampler.start += 1
            self.progress.passed = self.sampler.passed.popleft()
            self.live.step(residuals, value, self.speed)
            if time.monotonic() - self.last_checkpoint > CHECKPOINT_EVERY:
                self._checkpoint()
            self._read_clock()
            if self.finished or self._takes_workers(waited, taken):
                return
        self.progress.passed = 1.0

    def _validation_is_due(self) -> bool:
        """By the clock where the run goes by it; else by counts, so that a run that was killed repeats what it did."""
        before, epoch = self.validated
        if self.now - before < VALIDATION_STEP:
            return False
        if math.isfinite(self.progress.max_seconds):
            return (time.monotonic() - self.last_validation) * VALIDATION_SHARE >= self.validation_seconds
        count = 0 if self.data.valid is None else len(self.data.valid)
        trained = (self.progress.epoch - epoch) * len(self.data.train)
        return trained * VALIDATION_SHARE >= count * VALIDATION_COST

    def _end_epoch(self) -> bool:
        """Go on to the next epoch where no step of this one is left; whether that is so."""
        if self.progress.passed < 1.0:
            return False
        self.progress.epoch += 1
        self.progress.passed = 0.0
        self.sampler.start = 0
        return True

    def _takes_workers(self, waited: float, computed: float) -> bool:
        """After the steps that are measured: whether processes read ahead from here on."""
        if self.waiting is None or not self.waiting.add(waited, computed):
            return False
        busy = self.shards.threads if self.fabric.device.type == "cpu" else 1
        spare = spare_cores(busy, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
        workers, share = self.waiting.workers(spare), self.waiting.share
        self.waiting = None
        if workers:
            self.live.console.print(
                f"steps wait for data {share:.0%} of the time: {workers} processes read ahead from here on"
            )
            self._load(workers)
        return workers > 0

    def _validate(self) -> dict[str, float]:
        """Errors of the averaged model on the validation set, and its loss with the weights of the last stage."""
        began = time.monotonic()
        self.ema.eval()
        sums = ValidationErrors(self._weights(late=self.config.loss.late < 1), self.limits)
        if self.data.valid is not None:
            for graphs in self.data.batch_limits.parts(own_graphs(self.data.valid, self.ranks, self.workers)):
                part = split(graphs, self.shards.count)
                graphs = [graph.to(self.fabric.device) for graph in part.graphs]
                sums.add(self.shards.residuals(self.ema.module, graphs, **requests(part.counts)))
        errors = sums.joined(self.ranks).values()
        self.last_validation = time.monotonic()
        # The first one also warms up: the quickest says what a validation costs.
        self.validation_seconds = min(self.validation_seconds, self.last_validation - began)
        return errors

    def _validate_and_save(self) -> None:
        errors = self._validate()
        self.validated, self.recorded = (self.now, self.progress.epoch), self.progress.step
        if not self.ranks.is_first:
            return
        self._reserve()
        self._record(errors)
        score = errors["loss"] if self.data.valid is not None else -self.progress.step
        self.since_best += 1
        if score <= self.best:
            self.best, self.since_best = score, 0
            provenance = self.provenance | {"validation": errors, "epoch": self.progress.epoch}
            averaged = self.ema.module
            assert isinstance(averaged, models.Potential)
            models.save(averaged, self.folder / "model.eqt", provenance)
        self._checkpoint()

    def _reserve(self) -> None:
        """Keep time for the closing evaluation, judged by how long one validation takes, or else training."""
        if self.data.valid is not None:
            each = self.validation_seconds / len(self.data.valid)
        else:
            each = 1 / self.speed if self.trained else 0.0
        total = sum(
            min(len(indices), MOST_TRAIN) if name in TRAINED else len(indices) for name, _, indices in self.data.parts()
        )
        self.progress.reserve = 3.0 + 1.2 * each * total

    def _record(self, errors: dict) -> None:
        row = {
            "seconds": round(self.progress.elapsed, 2),
            "epoch": self.progress.epoch,
            "step": self.progress.step,
            "lr": self.optimizer.param_groups[0]["lr"],
            **self.live.averages(),
            **{f"valid_{name}": value for name, value in errors.items()},
        }
        self.log.write(row)
        self.live.report(row)

    def _checkpoint(self) -> None:
        self.last_checkpoint = time.monotonic()
        if not self.ranks.is_first or self.origin is None:
            return
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.progress.step,
            "epoch": self.progress.epoch,
            "batch": self.sampler.start,
            "passed": self.progress.passed,
            "elapsed": self.progress.elapsed,
            "reserve": self.progress.reserve,
            "best": self.best,
            "since_best": self.since_best,
            "validated": self.validated,
            "recorded": self.recorded,
            "live": self.live.state(),
            "gradient_limit": self.gradient_limit.state(),
            "rng": torch.get_rng_state(),
            "origin": self.origin.state(),
        }
        write_checkpoint(self.folder / "last.ckpt", state)

    def restore(self, state: dict) -> None:
        """Go on where `_checkpoint` left off."""
        try:
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{self.folder}/last.ckpt does not fit the model: {error}") from None
        progress = self.progress
        progress.step, progress.epoch = state["step"], state["epoch"]
        progress.spent, progress.reserve = state["elapsed"], state["reserve"]
        self.sampler.start = state["batch"]
        progress.passed = state.get("passed", 0.0)
        self.best, self.since_best = state["best"], state.get("since_best", 0)
        self.recorded = state.get("recorded", progress.step)
        if "live" in state:  # checkpoints had none of these once
            self.validated = tuple(state["validated"])
            self.live.restore(state["live"])
        if "gradient_limit" in state:
            self.gradient_limit.restore(state["gradient_limit"])
        if self.ranks.is_first:
            self.log.drop_after(self.recorded)
        torch.set_rng_state(state["rng"])
