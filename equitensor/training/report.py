"""Tables of errors, for people."""

from io import StringIO

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from rich.console import Console
from rich.table import Table

from equitensor.graph.labels import Quantity, labels
from equitensor.training.groupings import CONFIG_TYPE, ELEMENT, GROUPINGS
from equitensor.training.scores import SCORES


def columns() -> list[Quantity]:
    """The quantities that have a column in tables."""
    return [quantity for label in labels() for quantity in label.quantities if quantity.title]


def error_table(rows: dict[str, dict], title: str = "", scores: bool = False) -> Table:
    """MAE and RMSE of each quantity that any row has, one line per row ("train", "valid", ...); scores: those too."""
    table = Table(title=title or None, title_justify="left")
    table.add_column("")
    counts = next((name for name in ("n_structures", "n_atoms") if any(name in m for m in rows.values())), "")
    table.add_column(counts.removeprefix("n_"), justify="right")
    shown = [each for each in columns() if any(m.get(f"{each.name}_mae") is not None for m in rows.values())]
    further = [each for each in SCORES if scores and any(m.get(each.name) is not None for m in rows.values())]
    for each in shown:
        table.add_column(f"{each.title}\nMAE m{each.unit}", justify="right")
        table.add_column(f"\nRMSE m{each.unit}", justify="right")
    for score in further:
        table.add_column(score.title, justify="right")
    for name, metrics in rows.items():
        cells = [name, str(metrics.get(counts, ""))]
        for each in shown:
            cells += [_milli(metrics.get(f"{each.name}_{kind}")) for kind in ("mae", "rmse")]
        cells += ["" if metrics.get(each.name) is None else each.show(metrics[each.name]) for each in further]
        table.add_row(*cells)
    return table


def evaluation_table(evaluation, scores: bool = False) -> str:
    """The errors of an Evaluation, as text: in all, by config_type, size, element and tag, and what was left out."""
    parts = []
    for grouping in GROUPINGS:
        groups = evaluation.groups.get(grouping.name, {})
        rows = {grouping.show(key): metrics for key, metrics in groups.items()}
        if grouping is CONFIG_TYPE:
            rows = {"all": evaluation.metrics} | (rows if len(rows) > 1 else {})
            parts.append(render(error_table(rows, "Errors", scores)))
        elif len(rows) > 1 or (rows and grouping is ELEMENT):
            parts.append(render(error_table(rows, grouping.title, scores)))
    parts += [left_out(elements, count) for elements, count in evaluation.excluded.items()]
    return "\n".join(parts)


def predictions_table(evaluation, out: str | None = None) -> str:
    """What was predicted, a row per structure, the first 50 where `out` (a file) holds all; what was left out."""
    table = Table(title="Predictions", title_justify="left")
    for name in ("structure", "formula", "energy\neV", "per atom\neV", "largest force\neV/A"):
        table.add_column(name, justify="left" if name in ("structure", "formula") else "right", overflow="fold")
    shown = evaluation.predictions[:50] if out else evaluation.predictions
    for i, s in enumerate(shown):
        formula = Formula.from_list([chemical_symbols[z] for z in s.z]).format("hill")
        force = np.linalg.norm(s.forces, axis=1).max()
        table.add_row(s.source or str(i), formula, f"{s.energy:.6f}", f"{s.energy / len(s):.6f}", f"{force:.4f}")
    parts = [render(table)]
    if hidden := len(evaluation.predictions) - len(shown):
        parts.append(f"and {hidden} more in {out}")
    parts += [left_out(elements, count) for elements, count in evaluation.excluded.items()]
    return "\n".join(parts)


def left_out(elements, count: int) -> str:
    names = ", ".join(chemical_symbols[z] for z in elements)
    return f"left out: {count} structures with elements that the model does not know ({names})"


def render(table: Table) -> str:
    buffer = StringIO()
    Console(file=buffer, width=140).print(table)
    return buffer.getvalue().rstrip()


def _milli(value) -> str:
    return "" if value is None else f"{1000 * value:.2f}"
