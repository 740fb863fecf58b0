"""Where the metrics of a run go: metrics.csv always, TensorBoard and Weights & Biases where they are asked for."""

import csv
import os
from pathlib import Path

from equitensor.errors import InputError
from equitensor.whole_file import whole_file


class MetricsLog:
    """Appends rows of metrics to metrics.csv in the run's folder, and hands them to the loggers by name.

    Raises InputError where the package of a logger is not installed.
    """

    def __init__(self, folder: Path, loggers=()) -> None:
        self.path = folder / "metrics.csv"
        self.loggers = [_open(name, folder) for name in loggers]

    def write(self, row: dict) -> None:
        """One row: `step`, and metrics (None where there is nothing to say)."""
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open(self.path, "a", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(row))
                if size == 0:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            os.truncate(self.path, size)  # no half row for a resumed run to go on after
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        metrics = {name: value for name, value in row.items() if name != "step" and value is not None}
        for logger in self.loggers:
            logger.log_metrics(metrics, step=row["step"])

    def drop_after(self, step: int) -> None:
        """Remove the rows of later steps, which a resumed run writes again."""
        if not self.path.exists():
            return
        with open(self.path, newline="") as file:
            lines = file.readlines()
        whole = [line for line in lines if line.endswith("\n")]
        rows = csv.DictReader(whole)
        kept = whole[:1] + [line for line, row in zip(whole[1:], rows, strict=True) if int(row["step"]) <= step]
        if len(kept) < len(lines):
            with whole_file(self.path) as partial, open(partial, "w", newline="") as file:
                file.writelines(kept)

    def close(self) -> None:
        for logger in self.loggers:
            logger.finalize("success")


def _open(name: str, folder: Path):
    try:
        if name == "tensorboard":
            from lightning.fabric.loggers import TensorBoardLogger

            return TensorBoardLogger(folder, name="", version="tensorboard")
        from lightning.pytorch.loggers import WandbLogger

        return WandbLogger(project="equitensor", name=folder.name, save_dir=folder)
    except ImportError as error:
        raise InputError(
            f"train.loggers: {name} needs its package ({error}): pip install 'equitensor[{name}]'"
        ) from None
