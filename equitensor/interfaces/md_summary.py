"""What a simulation gave: drift, mean temperature, speed."""

import time

import numpy as np


class Summary:
    """Gathers samples; at the end it knows drift (meV/atom/ps), mean temperature (K), steps/s and ns/day."""

    def __init__(self, atoms: int, settings):
        self.atoms, self.settings = atoms, settings
        self.times, self.totals, self.temperatures = [], [], []
        self._began: float | None = None
        self._ended = 0.0

    def add(self, sample) -> None:
        """Count one step; the first is the start, from which the clock runs."""
        self._ended = time.perf_counter()
        self._began = self._ended if self._began is None else self._began
        self.times.append(sample.time)
        self.totals.append(sample.total)
        self.temperatures.append(sample.temperature)

    @property
    def steps(self) -> int:
        return max(len(self.times) - 1, 0)

    @property
    def steps_per_second(self) -> float:
        return self.steps / (self._ended - self._began) if self._began is not None and self.steps else 0.0

    @property
    def drift(self) -> float:
        """Gradient of a straight line through the total energy, meV/atom/ps."""
        if self.steps < 2:
            return 0.0
        times = np.array(self.times) / 1000
        times = times - times.mean()
        totals = np.array(self.totals) - self.totals[0]
        return float(1000 * (times @ totals) / (times @ times) / self.atoms)

    def lines(self) -> list[str]:
        """The closing lines, with units."""
        speed = self.steps_per_second
        per_day = speed * self.settings.timestep * 86400e-6
        lines = [f"{self.steps} steps, {self.steps * self.settings.timestep / 1000:.4g} ps"]
        if self.times:
            lines.append(f"mean temperature {np.mean(self.temperatures):.1f} K")
        if self.settings.ensemble == "nve" and self.steps >= 2:
            lines.append(f"drift of the total energy {self.drift:+.4f} meV/atom/ps")
        return [*lines, f"{speed:.1f} steps/s, {per_day:.3g} ns/day"]
