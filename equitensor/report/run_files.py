"""What a run has written so far, without opening its model or its data: quick, and harmless to a run that goes on."""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

from equitensor.errors import InputError


@dataclass(frozen=True)
class RunFiles:
    """config: the resolved one, as YAML; metrics: the columns of metrics.csv, None where a cell is empty; summary: what
    the run wrote at its end, None before."""

    folder: Path
    config: str
    metrics: dict[str, list[float | None]]
    summary: dict | None

    @property
    def rows(self) -> int:
        """Validations so far."""
        return len(self.metrics.get("step", []))

    @property
    def last(self) -> dict[str, float | None]:
        """The last row of metrics.csv."""
        return {name: column[-1] for name, column in self.metrics.items() if column}


def read_run(folder) -> RunFiles:
    """The files of a run. Raises InputError where the folder is not that of a run."""
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}: give the folder of a run, the one that `equitensor train` wrote")
    if not (folder / "config.yaml").is_file():
        raise InputError(f"{folder} is not the folder of a run: it holds no config.yaml")
    metrics = _metrics(folder / "metrics.csv")
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    return RunFiles(folder, config, metrics, _summary(folder / "summary.json", metrics))


def _metrics(path: Path) -> dict[str, list[float | None]]:
    """The columns; a row that is being written is left out."""
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        lines = [line for line in file if line.endswith("\n")]
    rows = csv.reader(lines)
    names = next(rows, [])
    whole = [row for row in rows if len(row) == len(names)]
    try:
        return {name: [_number(row[i]) for row in whole] for i, name in enumerate(names)}
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None


def _number(cell: str) -> float | None:
    value = float(cell) if cell else math.nan
    return value if math.isfinite(value) else None


def _summary(path: Path, metrics: dict) -> dict | None:
    """None while a run goes on, also one that had ended and was resumed."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    steps = metrics.get("step")
    return None if steps and summary.get("steps", 0) < steps[-1] else summary
