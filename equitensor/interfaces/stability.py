"""When a simulation has left the world: values that are not finite, absurd speeds, an atom torn off."""

from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
from ase import units
from ase.data import chemical_symbols

from equitensor.errors import InputError


class UnstableError(RuntimeError):
    """The structure flies apart. The message says when, which atom and what to try."""


ADVICE = (
    "the model is probably asked about a structure far from its training data, or the steps are too long: "
    "look at the last frames, start from a relaxed structure, lower the time step or the temperature, "
    "or train on such structures"
)


@contextmanager
def refusals_are_unstable(where: Callable[[], str]):
    """What calculator or constraints refuse here is the doing of the dynamics: UnstableError, with `where` it was."""
    try:
        yield
    except InputError as error:
        raise UnstableError(f"{where()}: {error}; {ADVICE}") from None
    except RuntimeError as error:
        if str(error) != "Did not converge":  # ASE, of bonds that it cannot bring back to their lengths
            raise
        raise UnstableError(f"{where()}: the bonds that constraints hold cannot be kept; {ADVICE}") from None


class StabilityWatch:
    """Checks of a running simulation against its start, in K and eV.

    The temperature may reach 10 times that asked for (or that of the start) plus 5000 K, the kinetic energy
    of one atom 20 eV plus 50 kT; an atom with a neighbour within the cutoff at the start keeps one.
    """

    def __init__(self, atoms, temperature: float):
        self.hottest = 10 * temperature + 5000
        self.fastest = 20 + 50 * units.kB * temperature
        self.bound = coordination(atoms) > 0

    def check(self, atoms, sample) -> None:
        """Raise UnstableError if this state (with forces computed) is absurd."""
        if fault := geometry_fault(atoms, self.bound) or self._motion_fault(atoms, sample.temperature):
            raise UnstableError(f"step {sample.step} ({sample.time:.1f} fs): {fault}; {ADVICE}")

    def _motion_fault(self, atoms, temperature) -> str | None:
        kinetic = 0.5 * (atoms.get_momenta() ** 2).sum(axis=1) / atoms.get_masses()
        if not kinetic.max() < self.fastest:
            return f"{_first(atoms, kinetic == kinetic.max())} moves with {kinetic.max():.3g} eV"
        if not temperature < self.hottest:
            return f"the temperature has reached {temperature:.3g} K"
        return None


def geometry_fault(atoms, bound) -> str | None:
    """What is wrong: forces that are not finite, an atom that was `bound` and has no neighbour left."""
    forces = atoms.get_forces(apply_constraint=False)
    finite = np.isfinite(forces).all(axis=1)
    if not finite.all():
        return f"the force on {_first(atoms, ~finite)} is not finite"
    if not np.isfinite(atoms.get_potential_energy()):
        return "the energy is not finite"
    lost = bound & ~forces.any(axis=1)  # without neighbours there is no force, and counting neighbours takes time
    if lost.any():
        lost &= coordination(atoms) == 0
    if lost.any():
        return f"{_first(atoms, lost)} has left all others: none is within the model's cutoff"
    return None


def coordination(atoms) -> np.ndarray:
    """(n,) neighbours of each atom, as its calculator last counted them; ones where it does not count."""
    return getattr(atoms.calc, "coordination", np.ones(len(atoms), int))


def _first(atoms, mask):
    index = int(np.argmax(mask))
    return f"atom {index} ({chemical_symbols[atoms.numbers[index]]})"
