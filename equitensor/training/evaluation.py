"""The errors of a model on labelled structures."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric

from equitensor.data import GraphDataset, Snapshots, graph_loader
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.models import Potential
from equitensor.training.loss import QUANTITIES, residuals


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
    """Streaming MAE and RMSE of some quantities."""

    def __init__(self) -> None:
        self.metrics: dict[str, tuple[Metric, Metric]] = {}

    def add(self, name: str, errors: torch.Tensor) -> None:
        if errors.numel() == 0:
            return
        if name not in self.metrics:
            alone = {"sync_on_compute": False}  # one rank evaluates; the others must not be waited for
            pair = (MeanAbsoluteError(**alone), MeanSquaredError(squared=False, **alone))
            self.metrics[name] = tuple(metric.double() for metric in pair)
        errors = errors.detach().double().cpu().flatten()
        for metric in self.metrics[name]:
            metric.set_dtype(torch.float64).update(errors, torch.zeros_like(errors))

    def values(self, names=QUANTITIES) -> dict[str, float | None]:
        found = {}
        for name in names:
            mae, rmse = self.metrics.get(name, (None, None))
            found[f"{name}_mae"] = None if mae is None else float(mae.compute())
            found[f"{name}_rmse"] = None if rmse is None else float(rmse.compute())
        return found


def evaluate(
    model: Potential, snapshots: Snapshots, indices=None, batch_size: int = 16, device=None, keep: bool = True
) -> Evaluation:
    """Errors over `snapshots[indices]` (all by default); `keep` keeps predictions and labels for plots and files.

    Forces on atoms marked fixed do not count. Structures with elements that the model does not know are left out,
    counted in `excluded`. Raises InputError where none is left.
    """
    model = model.eval()
    device = model.device if device is None else device
    indices = np.arange(len(snapshots)) if indices is None else np.asarray(indices)
    indices, excluded = with_known_elements(model.elements, snapshots, indices)
    dataset = GraphDataset(snapshots, indices, model.cutoff, cache=False)
    total, by_type, by_element = _Errors(), {}, {}
    result = Evaluation(metrics={}, excluded=excluded)
    counts = {"n_structures": 0, "n_atoms": 0}
    for graph in graph_loader(dataset, batch_size=batch_size):
        graph = graph.to(device)
        prediction = model(graph)
        structures = [snapshots[int(i)] for i in graph.index]
        counts["n_structures"] += graph.num_graphs
        counts["n_atoms"] += graph.num_nodes
        _add(total, prediction, graph)
        _add_by_element(by_element, prediction, graph)
        if any(s.config_type is not None for s in structures):
            _add_by_type(by_type, prediction, graph, structures)
        if keep:
            result.labels.extend(structures)
            result.predictions.extend(_predicted(structures, prediction))
    result.metrics = total.values() | counts
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


def _add(errors: _Errors, prediction, graph) -> None:
    found = residuals(prediction, graph)
    for name in QUANTITIES:
        errors.add(name, found[name])


def _add_by_element(by_element, prediction, graph) -> None:
    known = ~graph.forces.isnan().any(dim=1) & ~graph.fixed
    errors = (prediction["forces"] - graph.forces)[known]
    z = graph.z[known]
    for number in z.unique().tolist():
        by_element.setdefault(number, _Errors()).add("forces", errors[z == number])


def _add_by_type(by_type, prediction, graph, structures) -> None:
    """The labels of one config_type at a time: others are masked with NaN."""
    types = [s.config_type or "(none)" for s in structures]
    for name in sorted(set(types)):
        chosen = torch.tensor([t == name for t in types], device=graph.z.device)
        atoms = chosen.index_select(0, graph.batch)
        nan = float("nan")
        masked = graph.replace(
            energy=graph.energy.masked_fill(~chosen, nan),
            forces=graph.forces.masked_fill(~atoms[:, None], nan),
            stress=graph.stress.masked_fill(~chosen[:, None, None], nan),
        )
        _add(by_type.setdefault(name, _Errors()), prediction, masked)


def _predicted(structures, prediction) -> Iterator[Structure]:
    forces = prediction["forces"].cpu().numpy()
    start = 0
    for i, structure in enumerate(structures):
        stop = start + len(structure)
        stress = prediction["stress"][i].cpu().numpy() if structure.pbc.all() else None
        energy = float(prediction["energy"][i])
        yield structure.replace(energy=energy, forces=forces[start:stop], stress=stress)
        start = stop
