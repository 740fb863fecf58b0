"""The picture of docs/organics.md, from the results of datasets/organics/check_torsions.py.

python docs/figures/torsions.py
"""

import argparse
import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
ACCENT = "#c0504d"
COLUMNS = 5


def draw(axes, name: str, piece: dict) -> None:
    """One fragment: GFN2-xTB as a line, the model as points."""
    for key, style in (
        ("GFN2-xTB", {"color": "0.4"}),
        ("model", {"color": ACCENT, "marker": ".", "linestyle": "none"}),
    ):
        values = [float("nan") if value is None else value for value in piece[f"{key} (kcal/mol)"]]
        axes.plot(piece["degrees"], values, label=key, **style)
    axes.set_title(name, fontsize=9)
    axes.set_xticks([-180, -90, 0, 90])
    axes.tick_params(labelsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, default=ROOT / "datasets/organics/results/torsions.json")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/organics_torsions.png")
    options = parser.parse_args()
    pieces = json.loads(options.results.read_text())["pieces"]
    rows = -(-len(pieces) // COLUMNS)
    figure = Figure(figsize=(2.2 * COLUMNS, 2.0 * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes, (name, piece) in zip(panels, pieces.items(), strict=False):
        draw(axes, name, piece)
    for axes in panels[len(pieces) :]:
        axes.set_axis_off()
    figure.supxlabel("dihedral, degrees", fontsize=9)
    figure.supylabel("kcal/mol", fontsize=9)
    panels[0].legend(frameon=False, fontsize=7)
    figure.savefig(options.out, dpi=90)


if __name__ == "__main__":
    main()
