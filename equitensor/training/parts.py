"""Which parts of a model are trained, and how fast: `train.freeze` and `train.lr` by part."""

from collections.abc import Mapping

from rich.table import Table
from torch import nn

from equitensor.errors import InputError
from equitensor.models import Potential
from equitensor.models.parts import READOUT, parts_of
from equitensor.training.config_sections import TrainConfig

E0S = "e0s"  # fitted, not trained; frozen where those of train.init_from are kept
DEFAULT = "default"  # the learning rate of the parts that are not named
WATCHED_STEPS = 3


def freeze(model: Potential, names: list[str]) -> None:
    """Train nothing of these parts. Raises InputError for a part that the model lacks, or where nothing is left."""
    parts = parts_of(model)
    _refuse_unknown("train.freeze", names, [*parts, E0S], model)
    for part in set(names) - {E0S}:
        for weight in parts[part].values():
            weight.requires_grad_(False)
    if set(parts) <= set(names):
        raise InputError(f"train.freeze: {', '.join(names)} are all parts of the model, nothing is left to train")


def rates(model: Potential, lr: Mapping[str, float], default: float) -> dict[int, float]:
    """Learning rate of each weight, by its id. Raises InputError for a part that is not trained."""
    parts = parts_of(model)
    _refuse_unknown("train.lr", lr, [*parts, DEFAULT], model)
    default = lr.get(DEFAULT, default)
    for part in lr:
        if part != DEFAULT and not any(weight.requires_grad for weight in parts[part].values()):
            raise InputError(f"train.lr: {part} is frozen (train.freeze): leave it out of one of the two")
    return {id(weight): lr.get(part, default) for part, weights in parts.items() for weight in weights.values()}


def _refuse_unknown(key: str, names, known: list[str], model: Potential) -> None:
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"{key}: {', '.join(unknown)} is no part of {model.settings['architecture']}, which has {', '.join(known)}"
        )


def parts_table(model: Potential, optimizer, train: TrainConfig) -> Table:
    """A row for each part: its weights, where they come from, and its learning rate, or that it is frozen."""
    table = Table(title="What is trained", title_justify="left")
    for title in ("part", "parameters", "begins", "learning rate"):
        table.add_column(title, justify="left" if title == "part" else "right")
    of = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    for part, weights in parts_of(model).items():
        trained = sorted({of[id(weight)] for weight in weights.values() if id(weight) in of})
        speed = " and ".join(f"{rate:.2g}" for rate in trained[::-1]) or "frozen"
        begins = "new" if train.init_from is None or (part == READOUT and train.head == "new") else "from the file"
        table.add_row(part, str(sum(weight.numel() for weight in weights.values())), begins, speed)
    return table


class GradientWatch:
    """Looks, over the first steps, whether every part that is trained gets a gradient.

    Steps in which nothing gets one, as of a batch of atoms without neighbours, do not count.
    """

    def __init__(self, model: Potential) -> None:
        self.parts = {
            part: trained
            for part, weights in parts_of(model).items()
            if (trained := [weight for weight in weights.values() if weight.requires_grad])
        }
        self.steps, self.seen = WATCHED_STEPS, set()

    def look(self) -> None:
        """After a backward pass. Raises InputError naming the parts without a gradient, after the last of the steps."""
        if self.steps == 0:
            return
        with_gradient = {part for part, weights in self.parts.items() if any(_has_gradient(each) for each in weights)}
        if not with_gradient:
            return
        self.seen |= with_gradient
        self.steps -= 1
        if self.steps == 0 and (silent := [part for part in self.parts if part not in self.seen]):
            raise InputError(
                f"{', '.join(silent)}: no gradient in the first {WATCHED_STEPS} steps, so nothing of it is learnt; "
                f"freeze it (train.freeze: [{', '.join(silent)}]), or give labels that depend on it"
            )


def _has_gradient(weight: nn.Parameter) -> bool:
    return weight.grad is not None and bool(weight.grad.any())
