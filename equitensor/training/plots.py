"""Pictures of a run: learning curve, parity plots, force errors by element. PNG, drawn without a screen."""

import csv
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, ACCENT = "#1f4e79", "#c0504d"


def plot_evaluation(evaluation, folder: Path) -> list[Path]:
    """parity_energy.png, parity_forces.png and forces_by_element.png, those for which there are labels."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    labelled = [
        (p.energy / len(p), s.energy / len(s))
        for p, s in zip(evaluation.predictions, evaluation.labels, strict=True)
        if s.energy is not None
    ]
    if labelled:
        predicted, reference = np.array(labelled).T
        drawn.append(_parity(folder / "parity_energy.png", reference, predicted, "energy", "eV/atom"))
    forces = [
        (p.forces[_free(s)].ravel(), s.forces[_free(s)].ravel())
        for p, s in zip(evaluation.predictions, evaluation.labels, strict=True)
        if s.forces is not None
    ]
    if forces:
        predicted, reference = (np.concatenate(side) for side in zip(*forces, strict=True))
        drawn.append(_parity(folder / "parity_forces.png", reference, predicted, "force component", "eV/A"))
    if evaluation.by_element:
        drawn.append(_by_element(folder / "forces_by_element.png", evaluation.by_element))
    return drawn


def plot_learning(metrics_csv: Path, path: Path) -> Path | None:
    """Validation errors of forces and energy against the time trained; None where nothing was recorded."""
    with open(metrics_csv, newline="") as file:
        rows = list(csv.DictReader(file))
    series = [("valid_forces_rmse", "forces, meV/A", INK), ("valid_energy_per_atom_rmse", "energy, meV/atom", ACCENT)]
    series = [entry for entry in series if rows and rows[0].get(entry[0])]
    if not series:
        return None
    minutes = [float(row["seconds"]) / 60 for row in rows]
    figure, axes = _figure(6.4, 4.0)
    for name, label, color in series:
        axes.plot(minutes, [1000 * float(row[name]) for row in rows], label=label, color=color)
    axes.set(xlabel="minutes", ylabel="validation RMSE", yscale="log", title="Learning curve")
    axes.legend(frameon=False)
    return _write(figure, path)


def _parity(path, reference, predicted, name, unit) -> Path:
    figure, axes = _figure(4.8, 4.6)
    low, high = min(reference.min(), predicted.min()), max(reference.max(), predicted.max())
    rmse = 1000 * np.sqrt(np.mean((predicted - reference) ** 2))
    axes.plot([low, high], [low, high], color="0.6", linewidth=1, zorder=0)
    axes.plot(reference, predicted, ".", color=INK, markersize=3, alpha=0.5, rasterized=True)
    axes.set(xlabel=f"reference {name}, {unit}", ylabel=f"predicted {name}, {unit}")
    axes.set_title(f"RMSE {rmse:.2f} m{unit}")
    axes.ticklabel_format(useOffset=False)
    axes.tick_params(axis="x", labelrotation=30)
    return _write(figure, path)


def _by_element(path, by_element) -> Path:
    figure, axes = _figure(max(3.6, 0.5 * len(by_element) + 2), 3.6)
    names = [chemical_symbols[z] for z in by_element]
    axes.bar(names, [1000 * m["forces_rmse"] for m in by_element.values()], color=INK, label="RMSE")
    axes.bar(names, [1000 * m["forces_mae"] for m in by_element.values()], color=ACCENT, width=0.5, label="MAE")
    axes.set(ylabel="error of a force component, meV/A", title="Forces by element")
    axes.legend(frameon=False)
    return _write(figure, path)


def _free(structure):
    return slice(None) if structure.fixed is None else ~structure.fixed


def _figure(width, height):
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _write(figure, path) -> Path:
    figure.savefig(path, dpi=150)
    return path
