"""The loop: steps, moving average of the weights, validation, checkpoints, all paced by the run's progress.

Lightning's Fabric moves data and joins ranks; the loop is ours, because the schedule, the validations and the end of a
run follow the clock, which Lightning's Trainer counts in epochs and steps.
"""

import gc
import math
import time
from functools import partial
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel

from equitensor import models
from equitensor.data import graph_loader
from equitensor.errors import InputError
from equitensor.graph.labels import ENERGY
from equitensor.training.checkpoint import write_checkpoint
from equitensor.training.config import Config
from equitensor.training.live import Live
from equitensor.training.loss import loss, numbers, requests
from equitensor.training.metrics_log import MetricsLog
from equitensor.training.origin import Origin
from equitensor.training.parts import GradientWatch
from equitensor.training.progress import Progress, lr_factor
from equitensor.training.sampler import BatchSampler
from equitensor.training.setup import TRAINED
from equitensor.training.shards import Shards, joined, split
from equitensor.training.validation import ValidationErrors

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
        self.model, self.optimizer = fabric.setup(model, optimizer)
        self.batch_size = size = data.batch_size
        self.sampler = BatchSampler(len(data.train), size, config.seed, fabric.global_rank, fabric.world_size)
        self.parameters = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.model.train()
        alone_on_cpu = fabric.device.type == "cpu" and fabric.world_size == 1
        self.shards = Shards(min(size, torch.get_num_threads()) if alone_on_cpu else 1, torch.get_num_threads())
        self.collate = partial(split, count=self.shards.count)
        workers = config.data.num_workers
        self.loader = graph_loader(
            data.train,
            batch_sampler=self.sampler,
            collate_fn=self.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        self.best, self.since_best = float("inf"), 0
        self.trained, self.train_seconds = 0, 0.0
        self.now = 0.0  # how far the run is, as of the last step

    def attach(self, folder: Path, progress: Progress, console, provenance: dict, origin: Origin | None) -> None:
        self.folder, self.progress, self.provenance, self.origin = folder, progress, provenance, origin
        self.live = Live(console, progress)
        self.log = MetricsLog(folder, self.config.train.loggers if self.fabric.global_rank == 0 else ())
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
        self.now = fraction if self.fabric.world_size == 1 else self.fabric.broadcast(fraction)

    def run(self) -> None:
        """Train to the end of the schedule; model.eqt and last.ckpt are up to date when this returns."""
        gc.freeze()  # modules and data that are here to stay need not be searched for garbage at every step
        try:
            with self.shards:
                self._run()
        finally:
            gc.unfreeze()

    def _run(self) -> None:
        self._read_clock()
        if self.fabric.global_rank == 0:
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
        self.loader = None  # ends its workers now; left to the garbage collector they take 5 s each
        if self.fabric.global_rank == 0:
            if self.recorded != self.progress.step:  # it is, where a run is resumed that was killed after this
                self._validate_and_save()
            self.log.close()

    def _epoch(self) -> None:
        for graphs in self.loader:
            began = time.monotonic()
            found, value = self.step([graph.to(self.fabric.device) for graph in graphs])
            self.trained += sum(graph.num_graphs for graph in graphs) * self.fabric.world_size
            self.train_seconds += time.monotonic() - began
            self.progress.step += 1
            self.sampler.start += 1
            self.live.step(found, value, self.speed)
            if time.monotonic() - self.last_checkpoint > CHECKPOINT_EVERY:
                self._checkpoint()
            self._read_clock()
            if self.finished:
                break
        self._end_epoch()
        if self.fabric.global_rank == 0 and self._validation_is_due() and not self.finished:
            self._validate_and_save()

    def _end_epoch(self) -> None:
        if self.sampler.start >= len(self.sampler):
            self.progress.epoch += 1
            self.sampler.start = 0

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

    def step(self, graphs):
        """One optimiser step on a batch, given in shards; residuals and loss."""
        factor = lr_factor(self.now, self.config.train.constant)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        parts = self.shards.residuals(self.model, graphs, **requests(graphs, self._weights(self.late)))
        found = joined(parts)
        self.optimizer.zero_grad()
        value = self._backward_shards(parts, found) if len(parts) > 1 else self._backward(found)
        if value is None:  # a batch without labels that count
            return found, 0.0
        value = float(value)
        if not math.isfinite(value):
            raise InputError(self._diverged(value))
        if self.watch is not None:
            self.watch.look()
        if self.config.train.clip is not None:
            self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=self.config.train.clip, error_if_nonfinite=False
            )
        self.optimizer.step()
        self._average()
        return found, value

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

    def _backward(self, found):
        """Gradients of the loss through the whole graph at once, over all ranks; the loss."""
        if self.fabric.world_size > 1:
            return self._backward_ranks(found)
        value = loss(found, self._weights(self.late), self.limits)
        if not isinstance(value, torch.Tensor):
            return None
        self.fabric.backward(value, inputs=self.parameters)  # not by positions, of which forces are made
        return value.detach()

    def _backward_ranks(self, found):
        """The same over all ranks, which average their gradients: each divides its sums by the ranks' mean counts.

        So a rank with one labelled stress does not outweigh one with ten, and one with none still takes part.
        """
        weights = self._weights(self.late)
        counts = torch.tensor(numbers(found), dtype=torch.float64)
        counts = self.fabric.all_reduce(counts.to(self.fabric.device), reduce_op="mean").tolist()
        counts = dict(zip(weights, counts, strict=True))
        if not any(weights[name] and counts[name] for name in counts):
            return None
        # The last term: every parameter has a gradient, which the other ranks wait for.
        value = loss(found, weights, self.limits, counts) + 0.0 * found[ENERGY.term].sum()
        self.fabric.backward(value)
        return self.fabric.all_reduce(value.detach(), reduce_op="mean")

    def _backward_shards(self, parts, found):
        """The same, from the gradients of the loss by the residuals: what the shards need of each other."""
        leaves = {name: value.detach().requires_grad_(value.requires_grad) for name, value in found.items()}
        value = loss(leaves, self._weights(self.late), self.limits)
        if not isinstance(value, torch.Tensor):
            return None
        value.backward()
        gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
        self.shards.backward(parts, gradients, self.parameters)
        return value.detach()

    def _weights(self, late: bool) -> dict[str, float]:
        return self.config.loss.weights(late)

    def _validate(self) -> dict[str, float]:
        """Errors of the averaged model on the validation set, and its loss with the weights of the last stage."""
        began = time.monotonic()
        self.ema.eval()
        errors = ValidationErrors(self._weights(late=self.config.loss.late < 1), self.limits)
        if self.data.valid is not None:
            size = 2 * self.batch_size
            for graphs in graph_loader(self.data.valid, batch_size=size, collate_fn=self.collate):
                graphs = [graph.to(self.fabric.device) for graph in graphs]
                errors.add(joined(self.shards.residuals(self.ema.module, graphs, **requests(graphs))))
        errors = errors.values()
        self.last_validation = time.monotonic()
        # The first one also builds neighbour lists: the quickest says what a validation costs.
        self.validation_seconds = min(self.validation_seconds, self.last_validation - began)
        return errors

    def _validate_and_save(self) -> None:
        errors = self._validate()
        self.validated = self.now, self.progress.epoch
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
            min(len(indices), 500) if name in TRAINED else len(indices) for name, _, indices in self.data.parts()
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
        self.recorded = self.progress.step
        self.live.report(row)

    def _checkpoint(self) -> None:
        self.last_checkpoint = time.monotonic()
        if self.fabric.global_rank > 0:
            return
        state = {
            "model": self.model.module.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.optimizer.state_dict(),
            "step": self.progress.step,
            "epoch": self.progress.epoch,
            "batch": self.sampler.start,
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
            self.model.module.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{self.folder}/last.ckpt does not fit the model: {error}") from None
        progress = self.progress
        progress.step, progress.epoch = state["step"], state["epoch"]
        progress.spent, progress.reserve = state["elapsed"], state["reserve"]
        self.sampler.start = state["batch"]
        self.best, self.since_best = state["best"], state.get("since_best", 0)
        self.recorded = state.get("recorded", progress.step)
        if "live" in state:  # checkpoints had none of these once
            self.validated = tuple(state["validated"])
            self.live.restore(state["live"])
        if self.fabric.global_rank == 0:
            self.log.drop_after(self.recorded)
        torch.set_rng_state(state["rng"])
