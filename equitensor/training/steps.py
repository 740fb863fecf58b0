"""One step of the optimiser on the batches of all ranks, and the moving average of the weights."""

import logging
import math

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from equitensor.errors import InputError
from equitensor.training.config import Config
from equitensor.training.gradient_limit import GradientLimit
from equitensor.training.loss import Terms, requests
from equitensor.training.parts import GradientWatch
from equitensor.training.progress import Progress, lr_factor
from equitensor.training.ranks import Ranks
from equitensor.training.shards import Shards, joined

log = logging.getLogger(__name__)
_MOST_LEFT_OUT = 10  # steps in a row


class Steps:
    """A model, its optimiser and its average; who takes the steps says how far the run is: `now` and `progress`."""

    progress: Progress

    def __init__(self, config: Config, fabric, model, optimizer, data) -> None:
        self.config, self.fabric, self.data = config, fabric, data
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.ema = AveragedModel(model).to(fabric.device)
        averaged = zip(self.ema.module.parameters(), model.parameters(), strict=True)
        self.averaged: list[Tensor] = [average for average, weight in averaged if weight.requires_grad]
        self.watch = GradientWatch(model) if config.train.by_part else None
        huber = config.loss.huber
        self.limits = None if huber is None else {name: huber * limit for name, limit in data.limits.items()}
        self.model, self.optimizer, self.ranks = model.to(fabric.device), optimizer, Ranks(fabric)
        self.parameters: list[Tensor] = [p for p in self.model.parameters() if p.requires_grad]
        self.ranks.share([*self.model.parameters(), *self.model.buffers()])
        self.model.train()
        threads = torch.get_num_threads()
        count = min(self._most_structures(), threads) if fabric.device.type == "cpu" else 1
        self.shards = Shards(count, threads, self.model)
        self.now = 0.0  # how far the run is, as of the last step
        self.gradient_limit, self.left_out = GradientLimit(), 0  # steps up to the last one, in a row

    @property
    def late(self) -> bool:
        return self.now >= self.config.loss.late

    def _most_structures(self) -> int:
        """That a batch can hold."""
        limits, most = self.data.batch_limits, len(self.data.train)
        if limits.edges is not None:
            most = min(most, max(1, limits.edges // int(self.data.sizes.min())))
        return most if limits.structures is None else min(most, limits.structures)

    def step(self, parts, meanwhile=None):
        """One optimiser step on the batches of this rank, each a `Part`; residuals and loss of them together.

        The loss and its gradients are those of all batches of all ranks as one: sums over labels are divided by the
        number of labels in all of them, which is known beforehand. `meanwhile` is called where this process would wait
        for those of other shards. A step without finite loss and gradients is left out; the tenth in a row raises
        InputError.
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
            return self._leave_out(f"the loss is {'NaN' if math.isnan(value) else 'infinite'}")
        self.ranks.sum_gradients(self.parameters)
        if not self.gradient_limit.apply([p.grad for p in self.parameters if p.grad is not None]):
            return self._leave_out("a gradient of the loss is NaN or infinite")
        self.left_out = 0
        if self.watch is not None:
            self.watch.look()
        if self.config.train.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.train.clip)
        self.optimizer.step()
        self._average()
        return residuals, value

    def _leave_out(self, why: str) -> tuple[dict[str, Tensor], float]:
        """A step that changes nothing, as where weights on their way meet a structure unlike the others."""
        self.left_out += 1
        if self.left_out < _MOST_LEFT_OUT:
            log.warning("step %d is left out: %s", self.progress.step, why)
            return {}, 0.0
        clip = self.config.train.clip
        advice = "set train.clip" if clip is None else f"lower train.clip ({clip:g})"
        raise InputError(
            f"{why} at step {self.progress.step} and the {_MOST_LEFT_OUT - 1} before: lower train.lr, {advice}, or "
            "look for structures with absurd labels (named at the start of the run)"
        )

    @torch.no_grad()
    def _average(self) -> None:
        """The weights' exponential moving average, as AveragedModel.update_parameters without its searches."""
        decay = self.config.train.ema if self.ema.n_averaged else 0.0
        torch._foreach_lerp_(self.averaged, self.parameters, 1 - decay)
        self.ema.n_averaged += 1

    def _weights(self, late: bool) -> dict[str, float]:
        return self.config.loss.weights(late)
