"""Pictures of a run: learning curve, parity plots, force errors by element. PNG, drawn without a screen."""

import csv
import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from equitensor.graph.labels import ENERGY, FORCES, Label, labels
from equitensor.models.error_bars import NORMAL_90
from equitensor.training.compared import shown, title
from equitensor.training.groupings import ELEMENT

INK, ACCENT = "#1f4e79", "#c0504d"
_COLORS = (ACCENT, INK, "#6a8f3c", "#8064a2")


def plot_evaluation(evaluation, folder: Path, e0s: Mapping[int, float] | None = None) -> list[Path]:
    """parity_<label>.png and <label>_by_element.png (of what atoms have), those for which there are labels, and
    error_bars_<label>.png of a model that has error bars; energies less E0s where these are given."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for label in labels():
        pairs = [
            shown(label, truth, prediction, e0s)
            for prediction, truth in zip(evaluation.predictions, evaluation.labels, strict=True)
        ]
        pairs = [pair for pair in pairs if pair is not None]
        if pairs:
            predicted, reference = (
                np.concatenate([each.ravel() for each in side]) for side in zip(*pairs, strict=True)
            )
            drawn.append(
                _parity(folder / f"parity_{label.name}.png", reference, predicted, title(label, e0s), label.shown.unit)
            )
        elements = evaluation.groups.get(ELEMENT.name, {})
        if label.per_atom and (known := {z: m for z, m in elements.items() if f"{label.shown.name}_rmse" in m}):
            drawn.append(_by_element(folder / f"{label.name}_by_element.png", known, label))
    if evaluation.calibration is not None:
        drawn += _error_bars(folder, evaluation.calibration)
    return drawn


def plot_learning(metrics_csv: Path, path: Path) -> Path | None:
    """Validation errors against the time trained; None where nothing was recorded."""
    with open(metrics_csv, newline="") as file:
        rows = list(csv.DictReader(file))
    series = [(f"valid_{label.shown.name}_rmse", f"{label.name}, m{label.shown.unit}") for label in labels()]
    series = [entry for entry in series if rows and rows[0].get(entry[0])]
    if not series:
        return None
    minutes = [float(row["seconds"]) / 60 for row in rows]
    figure, axes = _figure(6.4, 4.0)
    for (name, label), color in zip(series, itertools.cycle(_COLORS)):
        axes.plot(minutes, [1000 * float(row[name]) for row in rows], label=label, color=color)
    axes.set(xlabel="minutes", ylabel="validation RMSE", yscale="log", title="Learning curve")
    axes.legend(frameon=False)
    return _write(figure, path)


def _parity(path, reference, predicted, title: str, unit: str) -> Path:
    figure, axes = _figure(4.8, 4.6)
    low, high = min(reference.min(), predicted.min()), max(reference.max(), predicted.max())
    rmse = 1000 * np.sqrt(np.mean((predicted - reference) ** 2))
    axes.plot([low, high], [low, high], color="0.6", linewidth=1, zorder=0)
    axes.plot(reference, predicted, ".", color=INK, markersize=3, alpha=0.5, rasterized=True)
    axes.set(xlabel=f"reference {title}, {unit}", ylabel=f"predicted {title}, {unit}")
    axes.set_title(f"RMSE {rmse:.2f} m{unit}")
    axes.ticklabel_format(useOffset=False)
    axes.tick_params(axis="x", labelrotation=30)
    return _write(figure, path)


def _by_element(path, by_element, label: Label) -> Path:
    figure, axes = _figure(max(3.6, 0.5 * len(by_element) + 2), 3.6)
    names, of = [chemical_symbols[z] for z in by_element], label.shown
    axes.bar(names, [1000 * m[f"{of.name}_rmse"] for m in by_element.values()], color=INK, label="RMSE")
    axes.bar(names, [1000 * m[f"{of.name}_mae"] for m in by_element.values()], color=ACCENT, width=0.5, label="MAE")
    axes.set(ylabel=f"error of a component, m{of.unit}", title=f"{label.name.capitalize()} by element")
    axes.legend(frameon=False)
    return _write(figure, path)


def _error_bars(folder, calibration) -> list[Path]:
    """error_bars_<label>.png: |error| against the standard deviation, with the line below which 90 % should lie."""
    drawn, metrics = [], calibration.metrics()
    for name, pairs, unit in (
        (ENERGY.name, calibration.energies, "eV"),
        (FORCES.name, calibration.forces, "eV/Angstrom"),
    ):
        pairs = pairs[(pairs > 0).all(axis=1)]
        if not len(pairs):
            continue
        figure, axes = _figure(4.8, 4.6)
        errors, stds = 1000 * pairs.T
        ends = np.array([stds.min(), stds.max()])
        axes.plot(stds, errors, ".", color=INK, markersize=3, alpha=0.4, rasterized=True)
        axes.plot(ends, NORMAL_90 * ends, color=ACCENT, linewidth=1.2, label="90 % should lie below")
        axes.set(xscale="log", yscale="log", xlabel=f"standard deviation, m{unit}", ylabel=f"|error|, m{unit}")
        axes.set_ylim(max(errors.min(), errors.max() / 1e4), 2 * errors.max())
        axes.set_title(f"Error bars of {name}: {100 * metrics[name]['coverage_90']:.1f} % below")
        axes.legend(frameon=False)
        drawn.append(_write(figure, folder / f"error_bars_{name}.png"))
    return drawn


def _figure(width, height):
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _write(figure, path) -> Path:
    figure.savefig(path, dpi=150)
    return path
