"""Everything a run needs before its first step: data, split, E0s, model, optimiser."""

from dataclasses import dataclass, field

import numpy as np
import torch
from ase.data import chemical_symbols
from rich.console import Console

from equitensor import models
from equitensor.data import (
    Coverage,
    E0s,
    GraphDataset,
    Snapshots,
    coverage,
    coverage_table,
    open_snapshots,
    resolve_e0s,
    split_by_group,
    split_notes,
    usable,
)
from equitensor.data.sequence import ENERGY, FORCES, STRESS
from equitensor.errors import InputError
from equitensor.training.config import Config, LossConfig
from equitensor.training.evaluation import with_known_elements
from equitensor.training.statistics import statistics


@dataclass
class RunData:
    """The parts of a run's data: name -> (snapshots, indices); `tests` maps names to snapshots."""

    train: GraphDataset
    valid: GraphDataset | None
    e0s: E0s
    tests: dict[str, Snapshots] = field(default_factory=dict)

    def parts(self):
        """(name, snapshots, indices) of everything whose errors are reported at the end."""
        yield "train", self.train.snapshots, self.train.indices
        if self.valid is not None:
            yield "valid", self.valid.snapshots, self.valid.indices
        for name, snapshots in self.tests.items():
            yield name, snapshots, np.arange(len(snapshots))


def open_data(config: Config, console: Console, split: dict | None = None) -> RunData:
    """Open, split and count; print the coverage of every part. `split` is the one of a run that is resumed."""
    data, cutoff = config.data, config.model.cutoff
    options = data.reading_options()
    snapshots = open_snapshots(data.train, **options)
    if data.valid is None:
        if split is None:
            parts = split_by_group(snapshots, data.valid_fraction, config.seed, whole_groups=data.valid_by == "group")
            train, valid = parts.train, parts.valid
        else:
            train, valid = _saved_split(split, snapshots)
        valid_set = GraphDataset(snapshots, valid, cutoff) if len(valid) else None
    else:
        train = usable(snapshots)
        held_out = open_snapshots(data.valid, **options)
        valid_set = GraphDataset(held_out, usable(held_out), cutoff)
    e0s = resolve_e0s(data.e0s, snapshots, train)
    run = RunData(GraphDataset(snapshots, train, cutoff), valid_set, e0s, _tests(data, options))
    _report(run, console)
    _check_elements(run)
    _check_labels(run, config.loss)
    return run


def _saved_split(split, snapshots):
    train, valid = (np.array(split[name], dtype=np.int64) for name in ("train", "valid"))
    if len(train) + len(valid) and max(train.max(initial=0), valid.max(initial=0)) >= len(snapshots):
        raise InputError(f"{snapshots.name} holds {len(snapshots)} structures, fewer than when the run began")
    return train, valid


def _tests(data, options) -> dict[str, Snapshots]:
    if data.test is None:
        return {}
    if isinstance(data.test, dict):
        return {name: open_snapshots(path, **options) for name, path in data.test.items()}
    return {"test": open_snapshots(data.test, **options)}


def _report(run: RunData, console: Console) -> None:
    found = [coverage(snapshots, indices, name) for name, snapshots, indices in run.parts()]
    console.print(coverage_table(found))
    for part in found:
        for warning in part.warnings:
            console.print(f"[yellow]warning:[/] {warning}")
    (_, train, indices), *held_out = run.parts()
    for note in (text for name, *part in held_out for text in split_notes(train, indices, *part, name)):
        console.print(f"note: {note}")
    if warning := _untrained_elements(run, found[0]):
        console.print(f"[yellow]warning:[/] {warning}")
    console.print(f"E0s: {run.e0s.origin}")


def _untrained_elements(run: RunData, train: Coverage) -> str | None:
    """A sentence where no training structure holds some of the elements; None of a sample, which may miss the rare."""
    unseen = set(run.train.snapshots.elements) - set(train.elements)
    if not unseen or train.sampled < train.structures:
        return None
    names = ", ".join(chemical_symbols[z] for z in sorted(unseen))
    return (
        f"no training structure holds {names}, only structures held out or isolated atoms do: the model will accept "
        "these elements without having learnt anything about them"
    )


def _check_elements(run: RunData) -> None:
    known = run.train.snapshots.elements
    strange = set() if run.valid is None else set(run.valid.snapshots.elements) - set(known)
    if strange:
        names = ", ".join(chemical_symbols[z] for z in sorted(strange))
        raise InputError(f"the validation data hold elements that the training data lack: {names}")
    for snapshots in run.tests.values():
        with_known_elements(known, snapshots, np.arange(len(snapshots)))


def _check_labels(run: RunData, weights: LossConfig) -> None:
    counted = {
        "energy": (ENERGY, max(weights.energy, weights.energy_late)),
        "forces": (FORCES, weights.forces),
        "stress": (STRESS, weights.stress),
    }
    names = [name for name, (_, weight) in counted.items() if weight]
    if not names:
        raise InputError("loss.energy, loss.forces and loss.stress are all 0: nothing to learn from")
    present = run.train.snapshots.index
    if not any(present.has(counted[name][0])[run.train.indices].any() for name in names):
        raise InputError(
            f"{run.train.snapshots.name} holds none of the labels that the loss counts ({', '.join(names)}): give it "
            "those, or weights to the labels that it holds"
        )


def build_model(config: Config, run: RunData) -> models.Potential:
    """A fresh potential with the statistics of the training data, or the one of `train.init_from` with new E0s."""
    settings, elements, e0s = config.model.settings(), run.train.snapshots.elements, run.e0s.values
    dtype = getattr(torch, config.train.dtype)
    if config.train.init_from is not None:
        return _with_weights_of(config.train.init_from, settings, elements, e0s, dtype)
    found = statistics(run.train, e0s)
    model = models.build(settings, elements, e0s, found.scale, found.shift, found.num_neighbors, config.seed)
    return model.to(dtype)


def _with_weights_of(path, settings: dict, elements, e0s: dict[int, float], dtype: torch.dtype) -> models.Potential:
    """The weights, scale, shift and number of neighbours of another model of the same architecture and elements."""
    other = models.load(path, dtype=dtype)
    differing = [key for key in settings if settings[key] != other.settings.get(key, settings[key])]
    if differing or other.elements != tuple(elements):
        what = ", ".join(f"model.{key}" for key in differing) or "the elements"
        raise InputError(f"train.init_from: {path} differs in {what}; its weights do not fit this model")
    neighbors = other.settings["num_neighbors"]
    model = models.build(settings, elements, e0s, other.scale, other.shift, neighbors).to(dtype)
    try:
        model.load_state_dict(other.state_dict())
    except RuntimeError as error:  # a size that one of the two leaves to its default
        raise InputError(f"train.init_from: the weights of {path} do not fit this model: {error}") from None
    return model
