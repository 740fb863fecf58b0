"""The errors of a model on labelled structures."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from equitensor.data import Snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph.labels import labels
from equitensor.training.errors import ErrorSums, counted, errors_of, quantities


@dataclass
class Evaluation:
    """metrics, by the names of `equitensor eval --json` (None where nothing was labelled); the same by config_type;
    MAE and RMSE of what atoms have (forces) by element; predictions and labels, structure by structure, where they were
    asked for; excluded: structures left out because the model does not know their elements, counted by these."""

    metrics: dict[str, float | int | None]
    by_config_type: dict[str, dict] = field(default_factory=dict)
    by_element: dict[int, dict[str, float]] = field(default_factory=dict)
    predictions: list[Structure] = field(default_factory=list)
    labels: list[Structure] = field(default_factory=list)
    excluded: dict[tuple[int, ...], int] = field(default_factory=dict)

    def table(self) -> str:
        from equitensor.training.report import evaluation_table

        return evaluation_table(self)

    def plot(self, folder) -> list[Path]:
        """Parity plots and force errors by element as PNG files; their paths."""
        from equitensor.training.plots import plot_evaluation

        return plot_evaluation(self, Path(folder))


def evaluate(
    model, snapshots: Snapshots, indices=None, batch_size: int = 16, device=None, keep: bool = True
) -> Evaluation:
    """Errors over `snapshots[indices]` (all by default); `keep` keeps predictions and labels for plots and files.

    model is a Potential, which takes `batch_size` structures at once, or has `elements` and `compute(structure,
    stress)` for one, as the engines of `equitensor.interfaces` have. Forces on atoms marked fixed do not count.
    Structures with elements that the model does not know are left out, counted in `excluded`. Raises InputError where
    none is left.
    """
    indices = np.arange(len(snapshots)) if indices is None else np.asarray(indices)
    elements = [int(z) for z in model.elements]
    indices, excluded = with_known_elements(elements, snapshots, indices)
    total, by_type, by_element = ErrorSums(), {}, {}
    result = Evaluation(metrics={}, excluded=excluded)
    counts = {"n_structures": 0, "n_atoms": 0}
    if hasattr(model, "compute"):
        predicted = _one_by_one(model, snapshots, indices)
    else:
        predicted = _in_batches(model, snapshots, indices, batch_size, device)
    for label, prediction in predicted:
        counts["n_structures"] += 1
        counts["n_atoms"] += len(label)
        errors = errors_of(label, prediction)
        total.add(errors)
        _add_by_element(by_element, label, errors)
        by_type.setdefault(label.config_type or "(none)", ErrorSums()).add(errors)
        if keep:
            result.labels.append(label)
            result.predictions.append(prediction)
    result.metrics = total.values() | counts
    if set(by_type) != {"(none)"}:
        result.by_config_type = {name: errors.values() for name, errors in sorted(by_type.items())}
    of_atoms = quantities(tuple(label for label in labels() if label.per_atom))
    result.by_element = {z: errors.values(of_atoms) for z, errors in sorted(by_element.items())}
    return result


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


def _one_by_one(model, snapshots, indices) -> Iterator[tuple[Structure, Structure]]:
    """(labels, prediction) of each structure."""
    for i in indices:
        label = snapshots[int(i)]
        out = model.compute(label, stress=bool(label.pbc.all()))
        yield label, _prediction(label, {name: np.asarray(value) for name, value in out.items()})


def _in_batches(model, snapshots, indices, batch_size, device) -> Iterator[tuple[Structure, Structure]]:
    """The same by a model in torch."""
    from equitensor.data import GraphDataset, graph_loader

    model = model.eval()
    device = model.device if device is None else device
    dataset = GraphDataset(snapshots, indices, model.cutoff, cache=False)
    of_atoms = {label.key for label in labels() if label.per_atom}
    for graph in graph_loader(dataset, batch_size=batch_size):
        out = {name: value.detach().cpu().double().numpy() for name, value in model(graph.to(device)).items()}
        start = 0
        for k, i in enumerate(graph.index.tolist()):
            label = snapshots[i]
            stop = start + len(label)
            own = {name: value[start:stop] if name in of_atoms else value[k] for name, value in out.items()}
            yield label, _prediction(label, own)
            start = stop


def _prediction(structure: Structure, out: dict[str, np.ndarray]) -> Structure:
    """The structure with what a model returns for it as labels, None for what it does not, or has no meaning there."""
    found = {}
    for label in labels():
        value = out.get(label.key)
        has_meaning = value is not None and (structure.pbc.all() or not label.periodic)
        found[label.name] = None if not has_meaning else value if np.ndim(value) else float(value)
    return structure.replace(**found)


def _add_by_element(by_element, structure: Structure, errors: dict[str, np.ndarray]) -> None:
    for label in labels():
        if not label.per_atom or label.term not in errors:
            continue
        z = structure.z[counted(label, structure, getattr(structure, label.name))]
        for number in np.unique(z).tolist():
            own = {quantity.name: errors[quantity.name][z == number] for quantity in label.quantities}
            by_element.setdefault(number, ErrorSums()).add(own)
