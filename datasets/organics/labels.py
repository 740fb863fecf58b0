"""Energies and gradients with GFN2-xTB, through tblite: single points and relaxations in Cartesian coordinates.

Everything is in atomic units here, as in the records of PubChemQCR: Hartree and Bohr.
"""

import numpy as np
from shards import Frame
from tblite.exceptions import TBLiteRuntimeError
from tblite.interface import Calculator

STEPS = 20  # of a relaxation, at most
RARER = 1.4  # ratio of the numbers of the steps that are kept
CONVERGED = 1e-3  # Hartree/Bohr, the largest component of the gradient: 0.05 eV/Angstrom
LONGEST = 0.3  # Bohr, of one step of one atom
MEMORY = 12  # pairs of steps and changes of the gradient


class Labels:
    """GFN2-xTB of one set of atoms; each call starts from the density of the call before."""

    def __init__(self, numbers: np.ndarray, positions: np.ndarray, uhf: int = 0) -> None:
        self.calculator = Calculator("GFN2-xTB", numbers, positions, uhf=uhf)
        self.calculator.set("verbosity", 0)
        self.before = None

    def frame(self, positions: np.ndarray) -> Frame | None:
        """None where the charges do not converge, from the last density nor from a fresh one."""
        self.calculator.update(positions)
        for start in (self.before, None) if self.before is not None else (None,):
            try:
                result = self.calculator.singlepoint(start)
            except TBLiteRuntimeError:
                continue
            self.before = result
            return Frame(positions.copy(), float(result.get("energy")), np.array(result.get("gradient")))
        self.before = None
        return None

    def relaxation(self, positions: np.ndarray) -> list[Frame]:
        """Frames of an L-BFGS relaxation: 0 to 5, then ever rarer, as they differ ever less, and the last.

        The first is at `positions`; it ends early where the charges do.
        """
        frames = self._relaxation(positions)
        kept = {0, *(round(RARER**power) for power in range(STEPS)), len(frames) - 1}
        return [frame for step, frame in enumerate(frames) if step in kept]

    def _relaxation(self, positions: np.ndarray) -> list[Frame]:
        frames, pairs = [], []
        while len(frames) < STEPS:
            frame = self.frame(positions)
            if frame is None:
                return frames
            if frames:
                step, change = frame.positions - frames[-1].positions, frame.gradient - frames[-1].gradient
                if (step * change).sum() > 1e-10:
                    pairs = [*pairs, (step, change)][-MEMORY:]
            frames.append(frame)
            if np.abs(frame.gradient).max() < CONVERGED:
                return frames
            step = _direction(frame.gradient, pairs)
            longest = np.linalg.norm(step, axis=1).max()
            positions = frame.positions + step * min(1.0, LONGEST / longest)
        return frames


def _direction(gradient: np.ndarray, pairs) -> np.ndarray:
    """Minus the inverse Hessian, as L-BFGS knows it, times the gradient (Nocedal and Wright, algorithm 7.4)."""
    direction, weights = -gradient, []
    for step, change in reversed(pairs):
        weight = (step * direction).sum() / (step * change).sum()
        weights.append(weight)
        direction = direction - weight * change
    if pairs:
        step, change = pairs[-1]
        direction = direction * ((step * change).sum() / (change * change).sum())
    for (step, change), weight in zip(pairs, reversed(weights), strict=True):
        direction = direction + step * (weight - (change * direction).sum() / (step * change).sum())
    return direction
