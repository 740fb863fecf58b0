"""mace_run_train for a given time of the processor: the same training, with epochs that end by the clock.

    .venv-mace/bin/python benchmarks/mace_timed.py SECONDS REPORT.json --max_num_epochs=50 ...

Epoch k of n ends SECONDS k / n after the first began, validations included; the next one goes on with the data where
it ended. So a set that is too large for one pass is validated, and its second stage begins, as in a run of many
epochs. What comes before the first step (reading, neighbour lists) does not count. Epochs done, structures trained on
and seconds go into REPORT.json. The tables of errors over all data at the end, which nobody reads, are left out.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path


class Clock:
    """Ends epochs by seconds of this process, `epochs` of them in `seconds`."""

    def __init__(self, seconds: float, epochs: int, now=time.process_time) -> None:
        self.seconds, self.epochs, self.now = seconds, epochs, now
        self.began: float | None = None
        self.done, self.structures = 0, 0
        self._batches: Iterator | None = None

    def epoch(self, loader: Iterable) -> Iterator:
        """Batches of one epoch, at least one: on from where the last epoch stopped, from the start behind the end."""
        if self.began is None:
            self.began, self._batches = self.now(), _endless(loader)
        self.done += 1
        while True:
            batch = next(self._batches)
            yield batch
            self.structures += batch.num_graphs
            if self.spent >= self.seconds * self.done / self.epochs:
                return

    @property
    def spent(self) -> float:
        """Seconds since the first epoch began."""
        return self.now() - self.began

    def report(self) -> dict:
        return {"epochs": self.done, "structures": self.structures, "seconds": round(self.spent, 1)}


def _endless(loader: Iterable) -> Iterator:
    while True:
        yield from loader


def main() -> None:
    """Train with the arguments behind the first two."""
    from calculators import e3nn_constants

    seconds, report, *words = sys.argv[1:]
    with e3nn_constants():
        from mace.cli import run_train
    loop = sys.modules["mace.tools.train"]  # mace.tools.train is a function of that name
    train_one_epoch = loop.train_one_epoch
    arguments = run_train.tools.build_default_arg_parser().parse_args(words)
    clock = Clock(float(seconds), arguments.max_num_epochs)

    def timed(*, data_loader, **rest):
        train_one_epoch(data_loader=clock.epoch(data_loader), **rest)
        Path(report).write_text(json.dumps(clock.report()) + "\n")

    loop.train_one_epoch = timed
    run_train.create_error_table = lambda *_args, **_options: ""
    run_train.run(arguments)


if __name__ == "__main__":
    main()
