"""The errors of a model on labelled structures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from equitensor.data import Snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph.labels import FORCES, labels
from equitensor.models import D3, d3_of
from equitensor.training.batches import BatchLimits
from equitensor.training.calibration import Calibration
from equitensor.training.compared import counted
from equitensor.training.errors import ErrorSums, errors_of
from equitensor.training.groupings import GROUPINGS, NO_GROUP, TAG, Grouping
from equitensor.training.scores import SCORES, scores_of
from equitensor.training.subtraction import D3Table

if TYPE_CHECKING:  # simulations and errors on the core do without torch
    import torch

    from equitensor.models import Potential


class Computes(Protocol):
    """One structure at a time, as the engines of `equitensor.interfaces` do."""

    elements: Any

    def compute(self, structure: Structure, stress: bool) -> dict: ...


@dataclass
class Evaluation:
    """Errors of a model on a data set.

    metrics: errors and scores, with the names of `equitensor eval --json`, None without labels; groups: the same by
    name of a grouping (config_type, size, element, tag) and group, with errors of atomic labels for groups of atoms;
    predictions and labels: by structure, if requested; excluded: numbers of structures that were left out, by the
    elements that the model does not know; calibration: errors compared with the error bars of a model that has them.
    """

    metrics: dict[str, float | int | None]
    groups: dict[str, dict[str | int, dict]] = field(default_factory=dict)
    predictions: list[Structure] = field(default_factory=list)
    labels: list[Structure] = field(default_factory=list)
    excluded: dict[tuple[int, ...], int] = field(default_factory=dict)
    calibration: Calibration | None = None

    def table(self, scores: bool | None = None) -> str:
        """The errors as text. scores: with OC20's scores; None: if atoms have OC20's tags."""
        from equitensor.training.report import evaluation_table

        return evaluation_table(self, self.has_tags if scores is None else scores)

    @property
    def has_tags(self) -> bool:
        """Whether atoms have OC20's tags."""
        return TAG.name in self.groups

    def plain(self) -> dict:
        """The contents of the JSON file: metrics, those of groups as by_<grouping>, counts of excluded structures."""
        shown = {grouping.name: grouping.show for grouping in GROUPINGS}
        by = {
            f"by_{name}": {shown[name](key): metrics for key, metrics in groups.items()}
            for name, groups in self.groups.items()
        }
        bars = {} if self.calibration is None else {"error_bars": self.calibration.metrics()}
        return self.metrics | {"n_excluded": sum(self.excluded.values())} | by | bars

    def plot(self, folder: str | Path, e0s: Mapping[int, float] | None = None) -> list[Path]:
        """Write parity plots (of energies minus E0s) and force errors by element as PNG files; return the paths."""
        from equitensor.training.plots import plot_evaluation

        return plot_evaluation(self, Path(folder), e0s)


def evaluate(
    model: Potential | Computes,
    snapshots: Snapshots,
    indices: ArrayLike | None = None,
    batch_size: int | None = 16,
    device: str | torch.device | None = None,
    keep: bool = True,
    batch_edges: int | None = None,
    d3: D3 | D3Table | None = None,
) -> Evaluation:
    """Compute the errors over `snapshots[indices]` (all by default).

    Forces on atoms marked as fixed do not count. Structures with elements that the model does not know are left out
    and counted in `excluded`.

    Args:
        model: a Potential, or an object with `elements` and compute(structure, stress), such as the engines of
            `equitensor.interfaces`.
        snapshots: the data.
        indices: the structures to evaluate.
        batch_size: maximum number of structures per batch of a Potential.
        device: for a Potential; None for its own.
        keep: keep predictions and labels, for plots and files.
        batch_edges: maximum number of edges per batch of a Potential; None: no limit.
        d3: the dispersion to add to a Potential that was trained on labels without it: a D3 (by default the model's
            own), or the D3Table of these snapshots.

    Raises:
        InputError: no structure is left.
    """
    indices = np.arange(len(snapshots)) if indices is None else np.asarray(indices)
    elements = [int(z) for z in model.elements]
    indices, excluded = with_known_elements(elements, snapshots, indices)
    if hasattr(model, "compute"):
        computed = _one_by_one(model, snapshots, indices)
    else:
        limits = BatchLimits(batch_size, batch_edges)
        computed = _in_batches(model, snapshots, indices, limits, device)
        d3 = d3_of(getattr(model, "d3", None), None) if d3 is None else d3
        computed = computed if d3 is None else _with_d3(d3, indices, computed)
    calibration = None if getattr(model, "error_bars", None) is None else Calibration()
    result = tally(_predicted(computed, calibration), keep, excluded)
    result.calibration = calibration
    return result


def tally(pairs: Iterable[tuple[Structure, Structure]], keep: bool = True, excluded: dict | None = None) -> Evaluation:
    """The errors of (labels, prediction) of each structure, in all and by group."""
    total, groups = ErrorSums(), {grouping.name: {} for grouping in GROUPINGS}
    result = Evaluation(metrics={}, excluded=excluded or {})
    count = atoms = 0
    for label, prediction in pairs:
        count, atoms = count + 1, atoms + len(label)
        errors = errors_of(label, prediction) | scores_of(label, prediction)
        total.add(errors)
        for grouping in GROUPINGS:
            _add_to_groups(groups[grouping.name], grouping, label, errors)
        if keep:
            result.labels.append(label)
            result.predictions.append(prediction)
    result.metrics = total.values() | {"n_structures": count, "n_atoms": atoms}
    for grouping in GROUPINGS:
        group = groups[grouping.name]
        if len(group) >= grouping.least and set(group) != {NO_GROUP}:
            result.groups[grouping.name] = {key: group[key].values() for key in sorted(group)}
    return result


class _Group:
    """The errors of some structures or atoms, and their number."""

    def __init__(self) -> None:
        self.sums, self.structures, self.atoms = ErrorSums(), 0, 0

    def values(self) -> dict:
        counts = {"n_structures": self.structures} if self.structures else {}
        errors = {name: value for name, value in self.sums.values().items() if value is not None}
        return errors | counts | {"n_atoms": self.atoms}


def _add_to_groups(groups: dict, grouping: Grouping, structure: Structure, errors: dict[str, np.ndarray]) -> None:
    keys = grouping.key(structure)
    if keys is None:
        return
    if not grouping.per_atom:
        group = groups.setdefault(keys, _Group())
        group.sums.add(errors)
        group.structures, group.atoms = group.structures + 1, group.atoms + len(structure)
        return
    compared = [label for label in labels() if label.per_atom and label.term in errors]
    keys = np.asarray(keys)
    for key, number in zip(*np.unique(keys, return_counts=True), strict=True) if compared else ():
        groups.setdefault(int(key), _Group()).atoms += int(number)
    for label in compared:
        names = [quantity.name for quantity in label.quantities]
        names += [score.name for score in SCORES if score.per_atom and score.name in errors and label is FORCES]
        kept = keys[counted(label, structure, getattr(structure, label.name))]
        for key in np.unique(kept).tolist():
            groups[key].sums.add({name: errors[name][kept == key] for name in names})


def with_known_elements(elements, snapshots, indices):
    """The indices of structures made of `elements` only, and a count of the others by their unknown elements.

    Raises InputError where none is left.
    """
    known, kept, excluded = set(elements), [], {}
    if set(snapshots.elements) <= known:
        return indices, {}
    index = snapshots.index
    if index.composition is not None:  # only those with unknown elements are read
        strange = index.compositions.beyond(known)[index.composition[indices]]
        kept, indices = indices[~strange].tolist(), indices[strange]
    for i in indices:
        unknown = tuple(sorted(set(snapshots[int(i)].z.tolist()) - known))
        if unknown:
            excluded[unknown] = excluded.get(unknown, 0) + 1
        else:
            kept.append(int(i))
    if not kept:
        from ase.data import chemical_symbols

        names = ", ".join(sorted({chemical_symbols[z] for group in excluded for z in group}))
        raise InputError(f"{snapshots.name}: every structure holds elements unknown to the model ({names})")
    return np.array(kept), excluded


def _with_d3(d3: D3 | D3Table, indices, computed) -> Iterator[tuple[Structure, dict[str, np.ndarray]]]:
    """(labels, what a model returns, D3 too) of what it returns for the structures of these indices."""
    for i, (label, out) in zip(indices, computed, strict=True):
        dispersion = d3.at(int(i)) if isinstance(d3, D3Table) else d3.compute(label, bool(label.pbc.all()))
        yield label, dispersion.added_to_results(out)


def _predicted(computed, calibration: Calibration | None) -> Iterator[tuple[Structure, Structure]]:
    """(labels, prediction) of each structure."""
    for label, out in computed:
        if calibration is not None:
            calibration.add(label, out)
        yield label, _prediction(label, out)


def _one_by_one(model, snapshots, indices) -> Iterator[tuple[Structure, dict[str, np.ndarray]]]:
    """(labels, what the model returns) of each structure."""
    for i in indices:
        label = snapshots[int(i)]
        out = model.compute(label, stress=bool(label.pbc.all()))
        yield label, {name: np.asarray(value) for name, value in out.items()}


def _in_batches(model, snapshots, indices, batch_limits, device) -> Iterator[tuple[Structure, dict[str, np.ndarray]]]:
    """The same by a model in torch."""
    from equitensor.data import GraphDataset
    from equitensor.graph import AtomicGraph

    model = model.eval()
    device = model.device if device is None else device
    dataset = GraphDataset(snapshots, indices, model.cutoff, cache=False)
    bars = getattr(model, "error_bars", None)
    wanted = {} if bars is None else {"features": True}
    of_atoms = {label.key for label in labels() if label.per_atom} | {"features"}
    for graphs in batch_limits.parts(dataset[i] for i in range(len(dataset))):
        graph = AtomicGraph.collate(graphs)
        assert graph.index is not None  # a GraphDataset sets it
        batch = model(graph.to(device), **wanted)
        out = {name: value.detach().cpu().double().numpy() for name, value in batch.items()}
        start = 0
        for k, i in enumerate(graph.index.tolist()):
            label = snapshots[i]
            stop = start + len(label)
            own = {name: value[start:stop] if name in of_atoms else value[k] for name, value in out.items()}
            yield label, own if bars is None else own | bars.of(label.z, own["features"])
            start = stop


def _prediction(structure: Structure, out: dict[str, np.ndarray]) -> Structure:
    """The structure with what a model returns for it as labels, None for what it does not, or has no meaning there."""
    predicted: dict[str, np.ndarray | float | None] = {}
    for label in labels():
        value = out.get(label.key)
        if value is None or (label.periodic and not structure.pbc.all()):
            predicted[label.name] = None
        else:
            predicted[label.name] = value if np.ndim(value) else float(value)
    return structure.replace(**predicted)
