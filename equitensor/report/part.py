"""What a page shows of one part of the data: errors by group, parity plots, outliers, error bars, structures."""

import numpy as np
from ase.data import chemical_symbols

from equitensor.graph import Structure
from equitensor.report.calibration_plots import calibration_plots
from equitensor.report.comparison import Comparison, comparisons
from equitensor.report.embedded import choose, formula, geometry
from equitensor.report.points import POINTS, points
from equitensor.report.tables import error_table, group_tables
from equitensor.training.evaluation import Evaluation
from equitensor.training.report import left_out


def part_content(
    name: str, evaluation: Evaluation, e0s: dict[int, float], total: int, parts: int, first: int
) -> tuple[dict, list[dict]]:
    """The part, and the structures that the page holds of it, the first of which has the place `first` in the page.

    total: structures of the part, of which the evaluation has all or some; parts: by which bounds are shared.
    """
    compared, n = comparisons(evaluation, e0s), len(evaluation.labels)
    sizes = np.array([len(structure) for structure in evaluation.labels], int)
    worst, drawn = choose(compared, sizes, parts)
    places = {k: first + i for i, k in enumerate([*worst, *drawn])}
    most = max(500, POINTS // parts)
    part = {
        "name": name,
        "notes": [left_out(elements, count) for elements, count in evaluation.excluded.items()],
        "bound": _bound(n, total, worst, drawn),
        "tables": [
            error_table("All structures", "part", {name: evaluation.metrics}, evaluation.has_tags),
            *group_tables(evaluation),
        ],
        "parity": [_parity(each, places, most) for each in compared],
        "outliers": _outliers(evaluation, compared, worst, places),
        "calibration": [],
        "calibration_lines": [],
    }
    if evaluation.calibration is not None:
        part["calibration"] = calibration_plots(evaluation, places, most)
        part["calibration_lines"] = evaluation.calibration.lines()
    return part, [_structure(evaluation, compared, k) for k in places]


def _bound(n: int, total: int, worst: list, drawn: list) -> str:
    evaluated = f"all {n}" if n == total else f"{n} of {total}, evenly spaced"
    held = len(worst) + len(drawn)
    if held == n:
        return f"structures: {evaluated}; each can be shown"
    sample = f"the {len(worst)} with the largest errors and {len(drawn)} drawn at random"
    return f"structures: {evaluated}; {held} of them can be shown, {sample}"


def _parity(of: Comparison, places: dict[int, int], most: int) -> dict:
    quantity, error = of.label.shown, of.error
    return {
        "title": of.title,
        "unit": quantity.unit,
        "mae": 1000 * float(np.abs(error).mean()),
        "rmse": 1000 * float(np.sqrt(np.square(error).mean())),
        "points": points(of.reference, of.predicted, of.structure, of.atom, places, most, rank=np.abs(error)),
    }


def _outliers(evaluation: Evaluation, compared: list[Comparison], worst: list[int], places: dict[int, int]) -> dict:
    """The structures with the largest errors as a table; "structures" are their places in the page."""
    n, columns = len(evaluation.labels), [{"title": title, "unit": ""} for title in ("structure", "formula", "atoms")]
    kinds = any(structure.config_type for structure in evaluation.labels)
    columns += [{"title": "config_type", "unit": ""}] * kinds
    values: list[list] = []
    for each in compared:
        unit = f"m{each.label.shown.unit}"
        if not each.label.per_atom and not each.label.shape:
            columns.append({"title": f"{each.label.shown.title} error", "unit": unit})
            signed = np.full(n, np.nan)
            signed[each.structure] = each.error
            values.append([_milli(v) for v in signed])
            continue
        columns.append({"title": f"{each.label.shown.title} RMSE", "unit": unit})
        columns.append({"title": f"largest {each.label.shown.title} error", "unit": unit})
        values += [[_milli(v) for v in each.rms(n)], [_milli(v) for v in each.largest(n)[0]]]
        if each.label.per_atom:
            columns.append({"title": "on atom", "unit": ""})
            values.append([_atom(*pair) for pair in zip(evaluation.labels, each.largest(n)[1], strict=True)])
    rows = []
    for k in worst:
        label = evaluation.labels[k]
        kind = [label.config_type or ""] * kinds
        rows.append([_name(label, k), formula(label), len(label), *kind, *(column[k] for column in values)])
    return {"title": "", "columns": columns, "rows": rows, "structures": [places[k] for k in worst]}


def _structure(evaluation: Evaluation, compared: list[Comparison], k: int) -> dict:
    """What the page holds of one structure."""
    label, prediction = evaluation.labels[k], evaluation.predictions[k]
    facts = [["formula", formula(label)], ["atoms", str(len(label))]]
    if label.fixed is not None and label.fixed.any():
        facts.append(["held in place", f"{label.fixed.sum()} atoms, whose forces do not count"])
    facts += [[name, getattr(label, name)] for name in ("config_type", "group") if getattr(label, name)]
    for each in compared:
        own = each.structure == k
        unit, title = each.label.shown.unit, each.title
        if own.sum() == 1 and not each.label.per_atom:
            facts.append([title, f"{each.predicted[own][0]:.5f} {unit}, reference {each.reference[own][0]:.5f}"])
            facts.append(["error", f"{1000 * each.error[own][0]:+.3g} m{unit}"])
        elif own.any():
            rmse = 1000 * np.sqrt(np.square(each.error[own]).mean())
            facts.append([f"{title} RMSE", f"{rmse:.3g} m{unit}"])
    if evaluation.calibration is not None:
        facts += _bars(evaluation.calibration.predicted[k])
    return {"name": _name(label, k), "facts": facts} | geometry(label, prediction)


def _bars(predicted: dict) -> list[list[str]]:
    return [
        ["energy, standard deviation", f"{1000 * float(predicted['energy_std']):.3g} meV"],
        ["largest novelty", f"{float(np.max(predicted['novelty'])):.2f}"],
    ]


def _name(structure: Structure, k: int) -> str:
    return structure.source or f"structure {k}"


def _atom(structure: Structure, i: int) -> str:
    return "" if i < 0 else f"{chemical_symbols[structure.z[i]]} {i}"


def _milli(value: float) -> float | None:
    return None if np.isnan(value) else 1000 * float(value)
