"""Labels before training: which are trained on, which are there in vain."""

from rich.console import Console

from equitensor.data import GraphDataset
from equitensor.errors import InputError
from equitensor.graph.labels import ENERGY, FORCES, STRESS, Label, labels
from equitensor.models import Potential
from equitensor.training.config_sections import LossConfig


def check_labels(train: GraphDataset, weights: LossConfig, console: Console) -> list[str]:
    """The labels that are trained on; says what each weighs, which are there in vain, and which are asked for but not
    there."""
    early, late = weights.weights(late=False), weights.weights(late=True)
    asked = [name for name in early if (early[name] and weights.late > 0) or (late[name] and weights.late < 1)]
    if not asked:
        raise InputError(f"{', '.join(f'loss.{name}' for name in early)} are all 0: nothing to learn from")
    index = train.snapshots.index
    present = {label.name: int(index.has(label)[train.indices].sum()) for label in labels()}
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
    for label in labels():
        name = label.name
        if name in asked and not present[name] and early[name] != label.weight:  # the default asks for what is there
            console.print(
                f"[yellow]warning:[/] loss.{name} is {early[name]:g}, but no training structure has {name} labels",
                soft_wrap=True,
            )
    console.print("loss: " + "; ".join(_term(label, weights, present) for label in labels() if label.name in trained))
    return trained


def check_predicted(trained: list[str], model: Potential, train: GraphDataset, console: Console) -> list[str]:
    """Those of the labels to train on that the model predicts; says which it does not. Raises InputError where it
    predicts none of them."""
    if {label.name for label in (ENERGY, FORCES, STRESS)}.issuperset(trained):
        return trained  # which every model predicts
    training = model.training
    prediction = model.eval()(train[0], forces=False, stress=False)
    model.train(training)
    keys = {FORCES.key, STRESS.key, *prediction}
    missing = [label.name for label in labels() if label.name in trained and label.key not in keys]
    backbone = type(model.backbone).__name__
    if len(missing) == len(trained):
        raise InputError(
            f"{backbone} predicts none of the labels to train on ({', '.join(missing)}): choose another "
            "model.architecture"
        )
    for name in missing:
        console.print(
            f"[yellow]warning:[/] {backbone} does not predict {name}: these labels are not learned. Choose a "
            f"model.architecture that does, or set loss.{name}=0",
            soft_wrap=True,
        )
    return [name for name in trained if name not in missing]


def _term(label: Label, weights: LossConfig, present: dict[str, int]) -> str:
    """What a term weighs, in words."""
    early, late = weights.weights(late=False)[label.name], weights.weights(late=True)[label.name]
    changes = f" ({late:g} from {weights.late:.0%} of the run on)" if late != early and 0 < weights.late < 1 else ""
    weight = late if weights.late == 0 else early
    of = label.term.replace("_", " ")
    return f"{weight:g}{changes} x ({of})^2 in {label.quantity.unit}, {present[label.name]} structures"
