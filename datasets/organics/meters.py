"""What is read off molecules as they move: their temperature, and the drift of their energy."""

from collections import defaultdict

import numpy as np
from ase import units
from dynamics import Molecules


class Thermometer:
    """The temperature of all molecules together, K."""

    def __init__(self, system: Molecules) -> None:
        self.system, self.readings = system, []

    def read(self) -> None:
        """Called after every step."""
        if self.system.left:
            self.readings.append(2 * self.system.kinetic().mean() / (3 * units.kB))

    def mean(self) -> float:
        """Without the first tenth, in which molecules warm up from their minimum; NaN without readings."""
        readings = self.readings[len(self.readings) // 10 :]
        return round(float(np.mean(readings)), 1) if readings else float("nan")


class EnergyMeter:
    """The total energy of each molecule, eV an atom."""

    def __init__(self, system: Molecules) -> None:
        self.system, self.readings = system, defaultdict(list)

    def read(self) -> None:
        """Called after every step."""
        system = self.system
        if system.left:
            energies = (system.energy + system.sums(system.kinetic())) / system.sizes
            for number, energy in zip(system.left, energies, strict=True):
                self.readings[number].append(energy)

    def drifts(self, timestep: float) -> dict[int, float]:
        """meV/atom/ps by the number of those that are left: the gradient of a straight line through the readings."""
        rows = {number: 1000 * np.array(self.readings[number]) for number in self.system.left if self.readings[number]}
        return {n: float(np.polyfit(timestep / 1000 * np.arange(len(row)), row, 1)[0]) for n, row in rows.items()}
