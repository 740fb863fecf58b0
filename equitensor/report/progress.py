"""What a page says of a run whether it has ended or goes on: its state, its learning curves and its config."""

from datetime import datetime, timezone

from equitensor.graph.labels import Quantity, labels
from equitensor.report.run_files import RunFiles


def progress_content(run: RunFiles, live: bool = False) -> dict:
    """Plain values for the page's script; `parts`, `structures`, `tables` and `versions` are left empty."""
    return {
        "title": run.folder.resolve().name,
        "folder": str(run.folder),
        "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "live": live,
        "finished": run.summary is not None,
        "state": _state(run, live),
        "notes": [],
        "facts": [],
        "tables": [],
        "curves": {"columns": run.metrics, "panels": panels(run.metrics)},
        "parts": [],
        "structures": [],
        "config": run.config,
        "versions": None,
    }


def panels(metrics: dict) -> list[dict]:
    """The pictures of learning curves: title, unit, factor to it, and lines by column, of what was recorded."""
    drawn = [_panel("loss", "", 1.0, {"training": "train_loss", "validation": "valid_loss"}, metrics)]
    for quantity in (label.shown for label in labels()):
        lines = {"training RMSE": f"train_{quantity.name}_rmse", "validation RMSE": f"valid_{quantity.name}_rmse"}
        lines["validation MAE"] = f"valid_{quantity.name}_mae"
        drawn.append(_panel(quantity.title, f"m{quantity.unit}", 1000.0, lines, metrics))
    drawn.append(_panel("learning rate", "", 1.0, {"learning rate": "lr"}, metrics) | {"log": False})
    return [panel for panel in drawn if panel["lines"]]


def quantities() -> list[Quantity]:
    """Those of labels that have a heading in tables."""
    return [quantity for label in labels() for quantity in label.quantities if quantity.title]


def _panel(title: str, unit: str, factor: float, lines: dict[str, str], metrics: dict) -> dict:
    known = {name: column for name, column in lines.items() if any(v is not None for v in metrics.get(column, []))}
    return {"title": title, "unit": unit, "factor": factor, "log": True, "lines": list(known.items())}


def _state(run: RunFiles, live: bool) -> str:
    if run.summary is not None:
        s = run.summary
        speed = f", {s['structures_per_second']:.0f} structures/s" if "structures_per_second" in s else ""
        return f"finished: {s['epochs']} epochs, {s['steps']} steps in {duration(s['seconds'])}{speed}"
    if not run.rows:
        return "no validation yet"
    last = run.last
    reached = f"{last['epoch']:.0f} epochs, {last['step']:.0f} steps in {duration(last['seconds'] or 0.0)}"
    return f"going on: {reached}" if live else f"not finished (it goes on, or was stopped): {reached}"


def duration(seconds: float) -> str:
    """As a person says it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
