"""Tables of errors as plain values for the page's script: the columns of the tables on the terminal."""

from equitensor.report.progress import quantities
from equitensor.training.evaluation import Evaluation
from equitensor.training.groupings import ELEMENT, GROUPINGS
from equitensor.training.scores import SCORES


def error_table(title: str, first: str, rows: dict[str, dict], scores: bool = False) -> dict:
    """{"title", "columns", "rows"}: counts, MAE and RMSE of each quantity that any row has; scores: those too.

    A column is {"title", "unit"}, with "bar" where lengths of bars help to compare its values.
    """
    columns: list[dict] = [{"title": first, "unit": ""}]
    keys: list[tuple[str, float]] = []
    for count in ("n_structures", "n_atoms"):
        if any(count in metrics for metrics in rows.values()):
            columns.append({"title": count.removeprefix("n_"), "unit": ""})
            keys.append((count, 1))
    for each in quantities():
        for kind in ("mae", "rmse"):
            name = f"{each.name}_{kind}"
            if any(metrics.get(name) is not None for metrics in rows.values()):
                columns.append({"title": f"{each.title} {kind.upper()}", "unit": f"m{each.unit}", "bar": True})
                keys.append((name, 1000.0))
    for score in SCORES if scores else ():
        if any(metrics.get(score.name) is not None for metrics in rows.values()):
            columns.append({"title": score.title, "unit": ""})
            keys.append((score.name, 1.0))
    cells = [
        [name, *(None if metrics.get(key) is None else scale * metrics[key] for key, scale in keys)]
        for name, metrics in rows.items()
    ]
    return {"title": title, "columns": columns, "rows": cells}


def group_tables(evaluation: Evaluation) -> list[dict]:
    """By config_type, size, element and tag, each where there are several groups, elements in any case."""
    tables = []
    for grouping in GROUPINGS:
        groups = evaluation.groups.get(grouping.name, {})
        rows = {grouping.show(key): metrics for key, metrics in groups.items()}
        if len(rows) > 1 or (rows and grouping is ELEMENT):
            tables.append(error_table(grouping.title, grouping.name, rows, evaluation.has_tags))
    return tables
