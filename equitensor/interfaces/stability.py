"""When a simulation has left the world: numbers that are not finite, absurd speeds, an atom torn off."""

import numpy as np
from ase import units
from ase.data import chemical_symbols


class UnstableError(RuntimeError):
    """The structure flies apart. The message says when, which atom and what to try."""


_ADVICE = (
    "the model is probably asked about a structure far from its training data, or the time step is too long: "
    "look at the last frames, relax the start, lower --timestep or --temperature, or train on such structures"
)


class StabilityWatch:
    """Checks of a running simulation against its start, in K and eV.

    The temperature may reach 10 times that asked for plus 5000 K, one atom's kinetic energy 20 eV plus 50 kT;
    an atom that had a neighbour within the model's cutoff at the start keeps at least one.
    """

    def __init__(self, atoms, temperature: float):
        self.hottest = 10 * temperature + 5000
        self.fastest = 20 + 50 * units.kB * temperature
        self.bound = self._coordination(atoms) > 0

    def check(self, atoms, sample) -> None:
        """Raise UnstableError if this state (with forces computed) is absurd."""
        fault = self._fault(atoms, sample)
        if fault:
            raise UnstableError(f"step {sample.step} ({sample.time:.1f} fs): {fault}; {_ADVICE}")

    def _fault(self, atoms, sample) -> str | None:
        forces = atoms.get_forces(apply_constraint=False)
        if not (np.isfinite(forces).all() and np.isfinite(sample.potential)):
            return (
                f"the energy or the force on atom {_first(atoms, ~np.isfinite(forces).all(1))} is not finite"
            )
        kinetic = 0.5 * (atoms.get_momenta() ** 2).sum(1) / atoms.get_masses()
        if not kinetic.max() < self.fastest:
            return f"atom {_first(atoms, kinetic == kinetic.max())} moves with {kinetic.max():.3g} eV"
        if not sample.temperature < self.hottest:
            return f"the temperature has reached {sample.temperature:.3g} K"
        lost = self.bound & (self._coordination(atoms) == 0)
        if lost.any():
            return f"atom {_first(atoms, lost)} has left all others: none is within the model's cutoff"
        return None

    @staticmethod
    def _coordination(atoms):
        """Neighbours per atom; zeros with a calculator that does not count them."""
        return getattr(atoms.calc, "coordination", np.zeros(len(atoms), int))


def _first(atoms, mask):
    index = int(np.argmax(mask))
    return f"{index} ({chemical_symbols[atoms.numbers[index]]})"
