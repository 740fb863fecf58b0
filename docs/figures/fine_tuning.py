"""The learning curves of docs/fine-tuning.md: python docs/figures/fine_tuning.py (after benchmarks/fine_tuning.py)."""

import json
import sys
from itertools import groupby
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "docs" / "site"))

from learning_curves import RESULTS, Point, points  # noqa: E402

ERROR = "forces_rmse"
KINDS = {"scratch": ("from scratch", "#c0504d"), "tuned": ("from organics", "#1f4e79")}
ERRORS = [1, 2, 5, 10, 20, 50, 100, 200, 500]


def panel(axes, curve: list[Point]) -> None:
    """One test: medians over the seeds joined, each seed as a dot."""
    frames = [point.frames for point in curve]
    for kind, (label, colour) in KINDS.items():
        axes.plot(frames, [point.median(kind, ERROR) for point in curve], color=colour, label=label)
        for point in curve:
            errors = getattr(point, kind)[ERROR]
            axes.plot([point.frames] * len(errors), errors, ".", color=colour, markersize=5)
    axes.set(xscale="log", yscale="log", xlabel="labelled frames", title=f"{curve[0].data}, {curve[0].test}")
    for axis, ticks in ((axes.xaxis, frames), (axes.yaxis, ERRORS)):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda value, _place: f"{value:g}")
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    runs = json.loads(RESULTS.read_text())["runs"]
    curves = [list(curve) for _, curve in groupby(points(runs), key=lambda point: (point.data, point.test))]
    figure = Figure(figsize=(3.1 * len(curves) + 0.6, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for axes, curve in zip(panels, curves, strict=True):
        panel(axes, curve)
    errors = [error for curve in curves for point in curve for kind in KINDS for error in getattr(point, kind)[ERROR]]
    lowest = max(tick for tick in ERRORS if tick < min(errors))
    highest = min(tick for tick in ERRORS if tick > max(errors))
    panels[0].set(ylabel="RMSE of forces, meV/A", ylim=(lowest, highest))
    panels[0].legend(frameon=False)
    figure.savefig(ROOT / "docs" / "images" / "fine_tuning.png", dpi=100)


if __name__ == "__main__":
    main()
