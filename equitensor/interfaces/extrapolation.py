"""Simulations that leave the training data: a warning, an end, or the frames in a file."""

from collections.abc import Callable, Mapping
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from equitensor.errors import InputError
from equitensor.interfaces.stability import UnstableError

ACTIONS = ("warn", "stop", "dump")
_LIMITED = {  # result of an atom -> digits and unit
    "novelty": ("{:.2f}", ""),
    "forces_std": ("{:.3f}", " eV/Angstrom"),
}


class ExtrapolationError(UnstableError):
    """An atom is further from the training data than is allowed. The message says when, and which."""


class ExtrapolationWatch:
    """What to do where novelty or forces_std of an atom (`equitensor.models.ErrorBars`) exceeds a limit.

    Args: atoms with a calculator that gives these; limits by the name of the result, "novelty" and "forces_std"
    (eV/Angstrom), one or both; action, "warn" (once), "stop" (ExtrapolationError) or "dump" (each such frame into
    `out`, extended xyz, `interval` steps apart at least); say, what takes a warning. `steps`, `beyond`, `worst` and
    `dumped` count and hold what was seen.
    """

    def __init__(
        self,
        atoms,
        limits: Mapping[str, float],
        action: str = "warn",
        out: str | Path = "novel.extxyz",
        interval: int = 1,
        say: Callable = print,
    ) -> None:
        for name, limit in limits.items():
            if not limit > 0:
                raise InputError(f"the largest {name} allowed is {limit}; it must be above 0")
        if action not in ACTIONS:
            raise InputError(f"what to do beyond the limit is {action!r}: say {', '.join(ACTIONS)}")
        self.atoms, self.limits, self.action, self.say = atoms, dict(limits), action, say
        self.out, self.interval = Path(out), interval
        self.steps = self.dumped = 0
        self.beyond, self.worst = dict.fromkeys(self.limits, 0), dict.fromkeys(self.limits, (0.0, 0))
        self._last = -np.inf

    def check(self, step: int) -> None:
        """Look at the structure as it was computed last."""
        results = self.atoms.calc.results
        self.steps += 1
        exceeded = []
        for name, limit in self.limits.items():
            highest = float(results[name].max())
            self.worst[name] = max(self.worst[name], (highest, step), key=lambda seen: seen[0])
            if highest > limit:
                self.beyond[name] += 1
                exceeded.append(name)
        if exceeded and self.action == "stop":
            raise ExtrapolationError(f"{self._what(exceeded[0], step)}: the run ends there, as asked for")
        for name in exceeded:
            if self.beyond[name] == 1:
                self.say(f"{self._what(name, step)}: what follows is an extrapolation")
        if exceeded and self.action == "dump" and step - self._last >= self.interval:
            self._dump(step)

    def summary(self) -> str:
        """How often, and how far, the limits were exceeded: a line for each, one for the frames."""
        lines = []
        for name, limit in self.limits.items():
            highest, step = self.worst[name]
            often = f"{name} above {limit:g} in {self.beyond[name]} of {self.steps} steps"
            lines.append(f"{often}, the largest {_shown(name, highest)} (step {step})")
        if self.dumped:
            lines.append(f"{self.dumped} frames in {self.out}")
        return "\n".join(lines)

    def _what(self, name, step) -> str:
        values = self.atoms.calc.results[name]
        atom = int(np.argmax(values))
        symbol = chemical_symbols[self.atoms.numbers[atom]]
        return (
            f"step {step}: atom {atom} ({symbol}) has {name} {_shown(name, values[atom])}, above {self.limits[name]:g}"
        )

    def _dump(self, step) -> None:
        atoms = self.atoms
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info={"step": step})
        for name in _LIMITED:
            frame.new_array(name, atoms.calc.results[name].copy())
        ase.io.write(self.out, frame, format="extxyz", append=self.dumped > 0)
        self.dumped, self._last = self.dumped + 1, step


def _shown(name: str, value: float) -> str:
    digits, unit = _LIMITED[name]
    return digits.format(value) + unit


def with_error_bars(engine, name):
    """The error bars of what an engine computes. Raises InputError where there are none."""
    if engine.error_bars is None:
        raise InputError(f"{name} has no error bars: equitensor uncertainty {name} TRAIN puts them in")
    return engine.error_bars
