"""How finely a calculator rounds: bounds of checks grow with its noise, and stay below what a user would notice."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class Rounding:
    """Noise and size of a calculator's results on one structure of `atoms` atoms, and the bounds that follow.

    Attributes: energy (eV), forces (eV/Angstrom), stress (eV/Angstrom^3), the noise; force_scale and stress_scale, root
    mean square and largest component; noise beyond the largest that is let pass is cut off, so that bounds stay below
    2 % of a force (the check "rounding" fails then).
    """

    TIMES: ClassVar = 1e-4 * np.arange(-4, 5)  # in units of a displacement whose components are about 1 Angstrom
    LARGEST_ENERGY: ClassVar = 1e-4  # eV an atom
    LARGEST_FORCE: ClassVar = 1e-3  # of the forces' root mean square

    atoms: int
    measured_energy: float
    measured_forces: float
    measured_stress: float
    force_scale: float
    stress_scale: float

    @property
    def single(self) -> bool:
        """Whether values are rounded as in single precision."""
        return self.measured_forces > 1e-9 * self.force_scale

    @property
    def energy(self) -> float:
        return min(self.measured_energy, self.LARGEST_ENERGY * self.atoms)

    @property
    def forces(self) -> float:
        return min(self.measured_forces, self.LARGEST_FORCE * self.force_scale)

    @property
    def stress(self) -> float:
        return min(self.measured_stress, self.LARGEST_FORCE * self.stress_scale)

    @property
    def energy_bound(self) -> float:
        """eV, for the energy of the structure computed in two ways."""
        return (5e-6 if self.single else 1e-7) * self.atoms * max(self.force_scale, 1.0) + 20 * self.energy

    @property
    def force_bound(self) -> float:
        """eV/Angstrom, for forces computed in two ways."""
        return (2e-4 if self.single else 1e-6) * self.force_scale + 10 * self.forces

    @property
    def stress_bound(self) -> float:
        """eV/Angstrom^3."""
        return (5e-4 if self.single else 1e-6) * self.stress_scale + 10 * self.stress

    @property
    def step(self) -> float:
        """Angstrom, of finite differences: errors of the formula (4th power) and of rounding are alike."""
        return float(np.clip(0.005 * (self.energy / 1e-10) ** 0.2, 0.001, 0.03))


def of_smooth_motions(windows: list[list], least_change: float, atoms: int) -> Rounding:
    """What remains of results at `Rounding.TIMES` of straight motions when a cubic polynomial is taken off.

    Of several motions the least: rounding is everywhere, a third derivative that jumps, as at a cutoff, is not.
    least_change: of energies that are rounded coarsely, in eV; see `stuck`.
    """
    middle = windows[0][len(windows[0]) // 2]
    energy, forces, stress = (
        min(noise(np.array([np.ravel(getattr(values, name)) for values in window])) for window in windows)
        if getattr(middle, name) is not None
        else 0.0
        for name in ("energy", "forces", "stress")
    )
    return Rounding(
        atoms,
        max(energy, least_change, 2 * np.finfo(float).eps * abs(middle.energy)),
        max(forces, 1e-15 * abs(middle.forces).max()),
        stress,
        float(np.sqrt(np.mean(middle.forces**2))),
        0.0 if middle.stress is None else float(abs(middle.stress).max()),
    )


def noise(series: np.ndarray) -> float:
    """Root mean square of what a cubic polynomial leaves of columns (times, m), with its degrees of freedom."""
    times = np.linspace(-1, 1, len(series))
    basis, _ = np.linalg.qr(np.vander(times, 4))
    centred = series - series.mean(axis=0)
    left = centred - basis @ (basis.T @ centred)
    return float(np.sqrt((left**2).mean() * len(series) / (len(series) - 4)))


def stuck(energies: list[float], expected: np.ndarray) -> float:
    """Half of the largest change that should have been between two equal energies: what a coarse rounding hides.

    expected: the energies by the forces, but for a constant, in eV.
    """
    given = np.array(energies)
    return float(abs(expected[:, None] - expected)[given[:, None] == given].max() / 2)
