"""Simulations that leave the training data: a warning, an end, or the frames in a file."""

from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from equitensor.errors import InputError
from equitensor.interfaces.stability import UnstableError

ACTIONS = ("warn", "stop", "dump")


class NovelError(UnstableError):
    """An atom is further from the training data than is allowed. The message says when, and which."""


class NoveltyWatch:
    """What to do where the novelty of an atom (`equitensor.models.ErrorBars`) exceeds a limit.

    Args: atoms with a calculator that gives novelty; limit; action, "warn" (once), "stop" (NovelError) or "dump" (each
    such frame into `out`, extended xyz, `interval` steps apart at least); say, what takes a warning. `steps`, `novel`,
    `worst` and `dumped` count and hold what was seen.
    """

    def __init__(
        self, atoms, limit: float, action: str = "warn", out=None, interval: int = 1, say: Callable = print
    ) -> None:
        if not limit > 0:
            raise InputError(
                f"the largest novelty allowed is {limit}; it must be above 0 (1: as rare as 1 % in training)"
            )
        if action not in ACTIONS:
            raise InputError(f"what to do with novel structures is {action!r}: say {', '.join(ACTIONS)}")
        self.atoms, self.limit, self.action, self.say = atoms, limit, action, say
        self.out, self.interval = None if out is None else Path(out), interval
        self.steps = self.novel = self.dumped = 0
        self.worst, self._last = (0.0, 0), -np.inf

    def check(self, step: int) -> None:
        """Look at the structure as it was computed last."""
        novelty = self.atoms.calc.results["novelty"]
        highest = float(novelty.max())
        self.steps += 1
        self.worst = max(self.worst, (highest, step), key=lambda seen: seen[0])
        if highest <= self.limit:
            return
        self.novel += 1
        if self.action == "stop":
            raise NovelError(f"{self._what(step, novelty)}: the run ends there, as asked for")
        if self.novel == 1:
            self.say(f"{self._what(step, novelty)}: what follows is an extrapolation")
        if self.action == "dump" and step - self._last >= self.interval:
            self._dump(step, novelty)

    def summary(self) -> str:
        """How often, and how far, the limit was exceeded."""
        highest, step = self.worst
        written = f"; {self.dumped} frames in {self.out}" if self.dumped else ""
        often = f"novelty above {self.limit:g} in {self.novel} of {self.steps} steps"
        return f"{often}, the largest {highest:.2f} (step {step}){written}"

    def _what(self, step, novelty) -> str:
        atom = int(np.argmax(novelty))
        symbol = chemical_symbols[self.atoms.numbers[atom]]
        return f"step {step}: atom {atom} ({symbol}) has novelty {novelty[atom]:.2f}, above {self.limit:g}"

    def _dump(self, step, novelty) -> None:
        atoms = self.atoms
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info={"step": step})
        frame.new_array("novelty", novelty.copy())
        ase.io.write(self.out, frame, format="extxyz", append=self.dumped > 0)
        self.dumped, self._last = self.dumped + 1, step


def with_error_bars(engine, name):
    """The error bars of what an engine computes. Raises InputError where there are none."""
    if engine.error_bars is None:
        raise InputError(f"{name} has no error bars: equitensor uncertainty {name} TRAIN puts them in")
    return engine.error_bars
