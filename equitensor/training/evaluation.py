"""The errors of a model on labelled structures."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from equitensor.data import Snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure

QUANTITIES = ("energy", "energy_per_atom", "forces", "stress")


@dataclass
class Evaluation:
    """metrics, by the names of `equitensor eval --json` (None where nothing was labelled); the same by config_type;
    forces MAE and RMSE by element; predictions and labels, structure by structure, where they were asked for;
    excluded: structures left out because the model does not know their elements, counted by those elements."""

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


class _Errors:
    """Streaming MAE and RMSE of some quantities: sums and counts in float64."""

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}  # quantity -> sum of |error|, sum of error^2, number

    def add(self, found: dict[str, np.ndarray]) -> None:
        for name, errors in found.items():
            if errors.size:
                sums = np.array([np.abs(errors).sum(), np.square(errors).sum(), errors.size])
                self._sums[name] = self._sums.get(name, 0.0) + sums

    def values(self, names=QUANTITIES) -> dict[str, float | None]:
        found = {}
        for name in names:
            absolute, square, count = self._sums.get(name, (None, None, 1))
            found[f"{name}_mae"] = None if absolute is None else float(absolute / count)
            found[f"{name}_rmse"] = None if square is None else float(np.sqrt(square / count))
        return found


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
    total, by_type, by_element = _Errors(), {}, {}
    result = Evaluation(metrics={}, excluded=excluded)
    counts = {"n_structures": 0, "n_atoms": 0}
    if hasattr(model, "compute"):
        predicted = _one_by_one(model, snapshots, indices)
    else:
        predicted = _in_batches(model, snapshots, indices, batch_size, device)
    for label, prediction in predicted:
        counts["n_structures"] += 1
        counts["n_atoms"] += len(label)
        errors = _errors(label, prediction)
        total.add(errors)
        _add_by_element(by_element, label, errors["forces"])
        by_type.setdefault(label.config_type or "(none)", _Errors()).add(errors)
        if keep:
            result.labels.append(label)
            result.predictions.append(prediction)
    result.metrics = total.values() | counts
    if set(by_type) != {"(none)"}:
        result.by_config_type = {name: errors.values() for name, errors in sorted(by_type.items())}
    result.by_element = {z: errors.values(("forces",)) for z, errors in sorted(by_element.items())}
    return result


def with_known_elements(elements, snapshots, indices):
    """The indices of structures made of `elements` only, and a count of the others by their unknown elements.

    Raises InputError where none is left.
    """
    known, kept, excluded = set(elements), [], {}
    if set(snapshots.elements) <= known:
        return indices, {}
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
        periodic = bool(label.pbc.all())
        out = model.compute(label, stress=periodic)
        stress = out["stress"] if periodic else None
        yield label, label.replace(energy=out["energy"], forces=out["forces"], stress=stress)


def _in_batches(model, snapshots, indices, batch_size, device) -> Iterator[tuple[Structure, Structure]]:
    """The same by a model in torch."""
    from equitensor.data import GraphDataset, graph_loader

    model = model.eval()
    device = model.device if device is None else device
    dataset = GraphDataset(snapshots, indices, model.cutoff, cache=False)
    for graph in graph_loader(dataset, batch_size=batch_size):
        out = {name: value.detach().cpu().double().numpy() for name, value in model(graph.to(device)).items()}
        start = 0
        for k, i in enumerate(graph.index.tolist()):
            label = snapshots[i]
            stop = start + len(label)
            stress = out["stress"][k] if label.pbc.all() else None
            yield label, label.replace(energy=float(out["energy"][k]), forces=out["forces"][start:stop], stress=stress)
            start = stop


def _errors(label: Structure, prediction: Structure) -> dict[str, np.ndarray]:
    """Errors of what is labelled, empty where nothing is: energy, energy_per_atom, forces (atoms, 3), stress (3, 3)."""
    found = {name: np.zeros(0) for name in QUANTITIES}
    if label.energy is not None and not np.isnan(label.energy):
        found["energy"] = np.array([prediction.energy - label.energy])
        found["energy_per_atom"] = found["energy"] / len(label)
    if label.forces is not None:
        counted = _counted(label)
        found["forces"] = prediction.forces[counted] - label.forces[counted]
    if label.stress is not None and prediction.stress is not None and not np.isnan(label.stress).any():
        found["stress"] = prediction.stress - label.stress
    return found


def _counted(label: Structure) -> np.ndarray:
    """(n,) bool, the atoms that have a force and are not fixed."""
    known = ~np.isnan(label.forces).any(axis=1)
    return known if label.fixed is None else known & ~label.fixed


def _add_by_element(by_element, label: Structure, errors: np.ndarray) -> None:
    if label.forces is None:
        return
    z = label.z[_counted(label)]
    for number in np.unique(z).tolist():
        by_element.setdefault(number, _Errors()).add({"forces": errors[z == number]})
