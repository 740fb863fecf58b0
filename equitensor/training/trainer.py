"""The loop: steps, moving average of the weights, validation, checkpoints, all paced by the run's progress.

Lightning's Fabric moves data and joins ranks; the loop is ours, because the schedule, the validations and the end of a
run follow the clock, which Lightning's Trainer counts in epochs and steps.
"""

import gc
import math
import os
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Subset

from equitensor import models
from equitensor.data import graph_loader
from equitensor.errors import InputError
from equitensor.graph import AtomicGraph
from equitensor.training.checkpoint import write_checkpoint
from equitensor.training.config import Config
from equitensor.training.live import Live
from equitensor.training.loss import Terms, requests
from equitensor.training.metrics_log import MetricsLog
from equitensor.training.origin import Origin
from equitensor.training.parts import GradientWatch
from equitensor.training.progress import Progress, lr_factor
from equitensor.training.ranks import Ranks
from equitensor.training.sampler import BatchSampler
from equitensor.training.setup import MOST_TRAIN, TRAINED
from equitensor.training.shards import Shards, in_parts, joined, split
from equitensor.training.validation import ValidationErrors
from equitensor.training.waiting import Ahead, Waiting, spare_cores

VALIDATION_SHARE = 0.03  # of the time, at most, unless an epoch is longer
VALIDATION_STEP = 0.02  # of the run between two validations, at least
VALIDATION_COST = 1 / 3  # of a structure, in structures that are trained on: by this count runs without a clock
CHECKPOINT_EVERY = 60.0  # seconds


class Trainer:
    """Trains one potential; `attach` gives it a folder and a schedule, `run` does the rest."""

    def __init__(self, config: Config, fabric, model, optimizer, data) -> None:
        self.config, self.fabric, self.data = config, fabric, data
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.ema = AveragedModel(model).to(fabric.device)
        averaged = zip(self.ema.module.parameters(), model.parameters(), strict=True)
        self.averaged = [average for average, weight in averaged if weight.requires_grad]
        self.watch = GradientWatch(model) if config.train.by_part else None
        huber = config.loss.huber
        self.limits = None if huber is None else {name: huber * limit for name, limit in data.limits.items()}
        self.model, self.optimizer, self.ranks = model.to(fabric.device), optimizer, Ranks(fabric)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.ranks.share([*self.model.parameters(), *self.model.buffers()])
        self.model.train()
        self.sampler = BatchSampler(
            data.sizes, data.batch_limits, config.seed, data.batches_a_step, self.ranks.rank, self.ranks.count
        )
        threads = torch.get_num_threads()
        count = min(self._most_structures(), threads) if fabric.device.type == "cpu" else 1
        self.shards = Shards(count, threads, self.model)
        self.collate = partial(in_parts, limits=data.batch_limits, count=self.shards.count)
        auto = config.data.num_workers == "auto"
        self.waiting = Waiting() if auto else None
        self._load(0 if auto else config.data.num_workers)
        self.best, self.since_best = float("inf"), 0
        self.trained, self.train_seconds = 0, 0.0
        self.now = 0.0  # how far the run is, as of the last step

    def _most_structures(self) -> int:
        """That a batch can hold."""
        limits, most = self.data.batch_limits, len(self.data.train)
        if limits.edges is not None:
            most = min(most, max(1, limits.edges // int(self.data.sizes.min())))
        return most if limits.structures is None else min(most, limits.structures)

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
        self.loader = None

    def attach(self, folder: Path, progress: Progress, console, provenance: dict, origin: Origin | None) -> None:
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

    @property
    def late(self) -> bool:
        return self.now >= self.config.loss.late

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

    def step(self, parts, meanwhile=None):
        """One optimiser step on the batches of this rank, each a `Part`; residuals and loss of them together.

        The loss and its gradients are those of all batches of all ranks as one: sums over labels are divided by the
        number of labels in all of them, which is known beforehand. `meanwhile` is called where this process would wait
        for those of other shards.
        """
        factor = lr_factor(self.now, self.config.train.constant)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        weights = self._weights(self.late)
        own = [sum(each) for each in zip(*(part.counts for part in parts), strict=True)]
        counts = self.ranks.sum(own or [0] * len(weights))
        counts = dict(zip(weights, counts, strict=True))
        for parameter in self.parameters:  # as optimizer.zero_grad(), in a tenth of the time
            parameter.grad = None
        of_parts, value = [], 0.0
        terms = Terms(weights, self.limits, counts)
        for part in parts:
            graphs = [graph.to(self.fabric.device) for graph in part.graphs]
            of_part, share = self.shards.backward(graphs, terms, meanwhile, **requests(part.counts, weights))
            value += share
            of_parts.append(of_part)
        residuals = joined(of_parts) if of_parts else {}
        if not any(weights[name] and counts[name] for name in counts):
            return residuals, 0.0
        (value,) = self.ranks.sum([value])
        if not math.isfinite(value):
            raise InputError(self._diverged(value))
        self.ranks.sum_gradients(self.parameters)
        if self.watch is not None:
            self.watch.look()
        if self.config.train.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.train.clip)
        self.optimizer.step()
        self._average()
        return residuals, value

    def _diverged(self, value: float) -> str:
        clip = self.config.train.clip
        advice = "set train.clip" if clip is None else f"lower train.clip ({clip:g})"
        return (
            f"the loss became {'NaN' if math.isnan(value) else 'infinite'} at step {self.progress.step}: lower "
            f"train.lr, {advice}, or look for structures with absurd labels (named at the start of the run)"
        )

    @torch.no_grad()
    def _average(self) -> None:
        """The weights' exponential moving average, as AveragedModel.update_parameters without its searches."""
        decay = self.config.train.ema if self.ema.n_averaged else 0.0
        torch._foreach_lerp_(self.averaged, self.parameters, 1 - decay)
        self.ema.n_averaged += 1

    def _weights(self, late: bool) -> dict[str, float]:
        return self.config.loss.weights(late)

    def _validate(self) -> dict[str, float]:
        """Errors of the averaged model on the validation set, and its loss with the weights of the last stage."""
        began = time.monotonic()
        self.ema.eval()
        errors = ValidationErrors(self._weights(late=self.config.loss.late < 1), self.limits)
        if self.data.valid is not None:
            for graphs in self.data.batch_limits.parts(self._validation_graphs()):
                part = split(graphs, self.shards.count)
                graphs = [graph.to(self.fabric.device) for graph in part.graphs]
                errors.add(self.shards.residuals(self.ema.module, graphs, **requests(part.counts)))
        errors = errors.joined(self.ranks).values()
        self.last_validation = time.monotonic()
        # The first one also warms up: the quickest says what a validation costs.
        self.validation_seconds = min(self.validation_seconds, self.last_validation - began)
        return errors

    def _validation_graphs(self) -> Iterable[AtomicGraph]:
        """Those of this rank."""
        own = Subset(self.data.valid, range(self.ranks.rank, len(self.data.valid), self.ranks.count))
        workers = 0 if self.data.valid.keeps_graphs else min(self.workers, len(own))
        return DataLoader(own, batch_size=None, num_workers=workers, collate_fn=_alone)

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
            models.save(self.ema.module, self.folder / "model.eqt", provenance)
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
        if not self.ranks.is_first:
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
        if self.ranks.is_first:
            self.log.drop_after(self.recorded)
        torch.set_rng_state(state["rng"])


def _alone(graph: AtomicGraph) -> AtomicGraph:
    """A loader's item as it is."""
    return graph
