"""What a run shows while it trains: a progress bar on a terminal, a line per validation anywhere."""

import time

import numpy as np
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from equitensor.graph.labels import FORCES, labels
from equitensor.training.errors import ErrorSums

_REFRESH = 0.25  # seconds
_HELD = 50  # steps whose errors are added up at a time


class Live:
    """Loss, force error and speed, averaged since the last validation."""

    def __init__(self, console, progress) -> None:
        self.console, self.progress = console, progress
        self.bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f}%"),
            TextColumn("loss {task.fields[loss]:.3g}  forces {task.fields[forces]:.1f} meV/A"),
            TextColumn("{task.fields[speed]:.0f} structures/s"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("", total=1.0, epoch=0, loss=0.0, forces=0.0, speed=0.0)
        self.shown = 0.0
        self._reset()

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *_):
        self.bar.stop()

    def _reset(self):
        self.steps, self.loss, self.sums, self.held = 0, 0.0, ErrorSums(), []

    def step(self, errors, value: float, speed: float) -> None:
        self.steps += 1
        self.loss += value
        self.held.append(errors.get(FORCES.term))
        if len(self.held) >= _HELD:
            self._errors()
        self.speed = speed
        if self.console.is_terminal and time.monotonic() - self.shown > _REFRESH:
            self.shown = time.monotonic()
            averages = self.averages()
            self.bar.update(
                self.task,
                completed=self.progress.fraction,
                epoch=self.progress.epoch,
                loss=averages["train_loss"],
                forces=1000 * (averages["train_forces_rmse"] or 0.0),
                speed=speed,
            )

    def _errors(self) -> ErrorSums:
        """The sums over all steps."""
        for errors in self.held:
            self.sums.add({FORCES.term: errors})
        self.held = []
        return self.sums

    def state(self) -> dict:
        """What the averages are made of, as plain values."""
        sums = {name: [float(value) for value in sums] for name, sums in self._errors().sums.items()}
        return {"steps": self.steps, "loss": self.loss, "errors": sums}

    def restore(self, state: dict) -> None:
        """Go on with the averages of a `state`."""
        self.steps, self.loss = state["steps"], state["loss"]
        self.sums.sums = {name: np.array(sums) for name, sums in state["errors"].items()}

    def averages(self) -> dict:
        rmse = self._errors().values((FORCES.term,))[f"{FORCES.term}_rmse"]
        return {"train_loss": self.loss / self.steps if self.steps else None, "train_forces_rmse": rmse}

    def report(self, row: dict) -> None:
        """One line for a validation, and start the averages anew."""
        parts = [f"{row['seconds']:7.0f} s", f"epoch {row['epoch']:4d}"]
        if row["train_loss"] is not None:
            parts.append(f"loss {row['train_loss']:9.4g}")
        for quantity in (label.quantities[0] for label in labels()):
            if (value := row.get(f"valid_{quantity.name}_rmse")) is not None:
                parts.append(f"valid {quantity.title} {1000 * value:.2f} m{quantity.unit}")
        self.console.print("  ".join(parts), highlight=False)
        self.console.file.flush()  # a log file is read while the run goes on
        self._reset()
