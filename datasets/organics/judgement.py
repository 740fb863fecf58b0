"""What another calculator, the reference, does with a bond that broke in dynamics."""

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.optimize import FIRE
from dynamics import Conditions
from shapes import broken, lengths
from watch import EVERY, Break

from equitensor.interfaces.md import MDSettings, simulate
from equitensor.interfaces.stability import UnstableError

KEPT, TOO, MINIMUM, SILENT = "kept", "broken too", "kept, but both are minima", "no answer"


def judged(event: Break, calc, conditions: Conditions, picoseconds: float) -> dict:
    """The verdict of the reference, and what it rests on.

    Dynamics go on from a while before the bond broke, with the velocities of then and the same thermostat: "broken
    too" where it breaks again. Else the broken geometry is relaxed: "kept" where the bond comes back, "kept, but both
    are minima" where it does not. "no answer" where the reference has none.
    """
    try:
        until = _broken_after(event, calc, conditions, picoseconds)
        relaxed = _relaxed(event.now, calc)
    except (CalculationFailed, UnstableError) as error:
        return {"verdict": SILENT, "why": str(error)}
    length = float(lengths(np.array([event.pair]), relaxed.positions)[0])
    stays = bool(broken(np.array([event.pair]), relaxed.numbers, relaxed.positions)[0])
    verdict = TOO if until is not None else MINIMUM if stays else KEPT
    facts = {"verdict": verdict, "dynamics (ps)": picoseconds, "relaxed to (A)": round(length, 3)}
    return facts if until is None else facts | {"broken after (ps)": until}


def _broken_after(event: Break, calc, conditions: Conditions, picoseconds: float) -> float | None:
    """When dynamics break the bond (ps); None where they do not."""
    atoms = event.before.copy()
    atoms.calc = calc
    of_run = {"temperature": conditions.temperature, "timestep": conditions.timestep, "friction": conditions.friction}
    steps = round(1000 * picoseconds / conditions.timestep)
    for sample in simulate(atoms, steps, MDSettings("nvt", **of_run)):
        if sample.step % EVERY == 0 and broken(np.array([event.pair]), atoms.numbers, atoms.positions)[0]:
            return round(sample.time / 1000, 3)
    return None


def _relaxed(geometry: Atoms, calc) -> Atoms:
    """By FIRE, which goes downhill where the energy is concave, as it is in a bond so long; L-BFGS need not."""
    atoms = Atoms(geometry.numbers, geometry.positions, calculator=calc)
    FIRE(atoms, logfile=None).run(fmax=0.05, steps=500)
    return atoms
