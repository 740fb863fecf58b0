"""The picture in the README, drawn from what `make demo` leaves in runs/demo: python docs/figures/demo.py"""

import csv
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from equitensor import models
from equitensor.data import open_snapshots
from equitensor.training import evaluate

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "runs" / "demo"
INK, ACCENT = "#1f4e79", "#c0504d"


def columns(path, *names):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [np.array([float(row[name]) for row in rows]) for name in names]


def learning(axes):
    seconds, forces, energy = columns(
        DEMO / "train" / "metrics.csv", "seconds", "valid_forces_rmse", "valid_energy_per_atom_rmse"
    )
    axes.plot(seconds, 1000 * forces, color=INK, label="forces, meV/A")
    axes.plot(seconds, 1000 * energy, color=ACCENT, label="energy, meV/atom")
    axes.set(yscale="log", xlabel="seconds of training, 2 cores", ylabel="validation RMSE", title="train")
    axes.legend(frameon=False)


def parity(axes):
    model = models.load(DEMO / "train" / "model.eqt")
    evaluation = evaluate(model, open_snapshots(ROOT / "datasets/alanine/test_hot.xyz"))
    predicted = np.concatenate([s.forces.ravel() for s in evaluation.predictions])
    reference = np.concatenate([s.forces.ravel() for s in evaluation.labels])
    ends = [reference.min(), reference.max()]
    axes.plot(ends, ends, color="0.6", linewidth=1)
    axes.plot(reference, predicted, ".", color=INK, markersize=2, alpha=0.4, rasterized=True)
    axes.set(xlabel="GFN2-xTB force, eV/A", ylabel="model, eV/A", title="evaluate: alanine at 900 K")
    axes.text(0.05, 0.9, f"RMSE {1000 * evaluation.metrics['forces_rmse']:.0f} meV/A", transform=axes.transAxes)


def dynamics(axes):
    time, kinetic, total = columns(DEMO / "md.csv", "time (fs)", "kinetic (eV)", "total (eV)")
    axes.plot(time, 1000 * (kinetic - kinetic.mean()), color="0.7", label="kinetic")
    axes.plot(time, 1000 * (total - total[0]), color=ACCENT, label="total")
    axes.set(xlabel="fs", ylabel="energy, meV (shifted)", title="molecular dynamics, NVE")
    axes.legend(frameon=False)


def main():
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    for draw, axes in zip((learning, parity, dynamics), panels, strict=True):
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(ROOT / "docs" / "images" / "demo.png", dpi=110)


if __name__ == "__main__":
    main()
