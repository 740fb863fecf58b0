"""Labels before training: which are trained on, which are there in vain, which cannot be right."""

from rich.console import Console
from rich.markup import escape

from equitensor.data import GraphDataset
from equitensor.data.sequence import ENERGY, FORCES, STRESS
from equitensor.errors import InputError
from equitensor.training.config import LossConfig
from equitensor.training.statistics import LabelSample, spread

_NAMED = 5  # absurd labels that are named one by one


def check_labels(train: GraphDataset, weights: LossConfig, console: Console) -> list[str]:
    """The labels that are trained on; says which are there in vain, and which are asked for but not there."""
    energy = max(weights.energy if weights.late > 0 else 0.0, weights.energy_late if weights.late < 1 else 0.0)
    counted = {"energy": energy, "forces": weights.forces, "stress": weights.stress}
    asked = [name for name, weight in counted.items() if weight]
    if not asked:
        raise InputError("loss.energy, loss.forces and loss.stress are all 0: nothing to learn from")
    index, bits = train.snapshots.index, {"energy": ENERGY, "forces": FORCES, "stress": STRESS}
    present = {name: int(index.has(bit)[train.indices].sum()) for name, bit in bits.items()}
    trained = [name for name in asked if present[name]]
    if not trained:
        raise InputError(
            f"{train.snapshots.name} holds none of the labels that the loss counts ({', '.join(asked)}): give it "
            "those, or weights to the labels that it holds"
        )
    for name, count in present.items():
        if count and name not in asked:
            console.print(
                f"[yellow]warning:[/] {name} labels in {count} structures are not trained on: set loss.{name}",
                soft_wrap=True,
            )
        if name == "stress" and name in asked and not count:
            console.print(
                f"[yellow]warning:[/] loss.stress is {weights.stress:g}, but no training structure has a stress",
                soft_wrap=True,
            )
    return trained


def name_absurd(name: str, part: GraphDataset | None, labels: LabelSample, console: Console) -> None:
    """A warning where a part of the data holds labels which cannot be right beside those of the training data."""
    found = [] if part is None else list(labels.absurd(part.snapshots[int(i)] for i in spread(part.indices)))
    if found:
        shown = "; ".join(map(str, found[:_NAMED])) + f"; and {len(found) - _NAMED} more" * (len(found) > _NAMED)
        console.print(
            f"[yellow]warning:[/] absurd labels in the {name} data: {escape(shown)}. They do not set the scale, and "
            "their forces count linearly (loss.huber), but they are errors: repair or remove these structures",
            soft_wrap=True,
        )
