"""Dynamics of molecules, watched for broken bonds and for molecules that fly apart."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from dynamics import Conditions, Molecules
from shapes import bonds, broken, lengths

EVERY = 10  # steps from one look at the bonds to the next
BEFORE = 25  # looks: how long before a broken bond the molecule is kept
FASTEST = (20.0, 50.0)  # kinetic energy of an atom that has flown off: eV, and times kT, as in `equitensor md`


@dataclass(frozen=True)
class Break:
    """A bond of molecule number `molecule`, between two of its atoms, that is `length` Angstrom long at a step.

    The molecule `before`, with its velocities, and `now`.
    """

    molecule: int
    step: int
    pair: tuple[int, int]
    length: float
    before: Atoms
    now: Atoms


class Watch:
    """Molecules as they move: bonds that broke, in `breaks`, and the step at which others flew apart, in `flown`.

    A broken bond is counted once; from then on the others count, and those that have formed. `step` is how many
    steps there were in all. Args: system; of_molecules, the bonds of each at the start, (m, 2) pairs of its atoms.
    """

    def __init__(self, system: Molecules, of_molecules: list[np.ndarray]) -> None:
        self.system, self.step = system, 0
        self.breaks: list[Break] = []
        self.flown: dict[int, int] = {}
        self.of_molecules = dict(enumerate(of_molecules))
        self._restart()

    def take_out(self, stay: np.ndarray) -> None:
        """Those (b,) that do not stay have flown apart."""
        lost = [number for number, stays in zip(self.system.left, stay, strict=True) if not stays]
        self.flown |= dict.fromkeys(lost, self.step)
        self.system.keep(stay)
        self._restart()

    def _restart(self) -> None:
        """With the molecules that are left, which are remembered as they are now and not as they were before."""
        self.past = deque([self._now()], maxlen=BEFORE)
        self._join()

    def _now(self) -> tuple[np.ndarray, np.ndarray]:
        return self.system.pos.copy(), self.system.vel.copy()

    def _join(self) -> None:
        first = np.cumsum([0, *self.system.sizes])
        rows = [self.of_molecules[n] + first[k] for k, n in enumerate(self.system.left)]
        self._pairs = np.concatenate([np.empty((0, 2), int), *rows])

    def look(self) -> None:
        """Add what has broken since the last look to `breaks`."""
        system = self.system
        torn = np.flatnonzero(broken(self._pairs, system.z, system.pos))
        for k in np.unique(system.owner[self._pairs[torn, 0]]):
            self._take(k, [row for row in torn if system.owner[self._pairs[row, 0]] == k])
        if len(torn):
            self._join()
        self.past.append(self._now())

    def _take(self, k: int, torn: list[int]) -> None:
        system = self.system
        before, now = system.molecule(k, *self.past[0]), system.molecule(k)
        first = np.flatnonzero(system.owner == k)[0]
        for row in torn:
            pair = tuple(int(atom - first) for atom in self._pairs[row])
            length = float(lengths(self._pairs[[row]], system.pos)[0])
            self.breaks.append(Break(system.left[k], self.step, pair, length, before, now))
        whole = self.of_molecules[system.left[k]]
        whole = whole[~broken(whole, now.numbers, now.positions)]
        self.of_molecules[system.left[k]] = np.unique(np.concatenate([whole, bonds(now)]), axis=0)


def run(
    watch: Watch, conditions: Conditions, steps: int, rng: np.random.Generator, on_step: Callable[[], None]
) -> None:
    """Move the molecules of `watch` by so many steps, as far as they are left; on_step() is called after each."""
    system = watch.system
    fastest = FASTEST[0] + FASTEST[1] * units.kB * conditions.temperature
    for _ in range(steps):
        if not system.left:
            return
        watch.step += 1
        system.step(conditions, rng)
        stay = _calm(system, fastest)
        if not stay.all():
            watch.take_out(stay)
        if watch.step % EVERY == 0:
            watch.look()
        on_step()


def _calm(system: Molecules, fastest: float) -> np.ndarray:
    """(b,) whether forces are finite and no atom is faster than that (eV)."""
    well = np.isfinite(system.forces).all(1) & (system.kinetic() < fastest)
    return system.sums(~well) == 0
