"""Newton's equations with the trained model conserve energy: 1 ps of the demo molecule at 300 K, 0.5 fs steps."""

import ase.io
import numpy as np
import pytest
from ase import units
from ase.md.verlet import VelocityVerlet

from equitensor.interfaces import Calculator, velocities

STEPS, TIMESTEP, TEMPERATURE = 2000, 0.5, 300.0
LIMIT = 0.1  # meV/atom/ps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nve_drift(trained_file, alanine_data, dtype):
    atoms = ase.io.read(alanine_data / "alanine.xyz")
    atoms.calc = Calculator(trained_file, device="cpu", dtype=dtype)
    velocities.draw(atoms, 2 * TEMPERATURE, np.random.default_rng(0))  # half of it goes into the vibrations
    dynamics = VelocityVerlet(atoms, TIMESTEP * units.fs)
    total, kelvin = [], []
    for _ in dynamics.irun(STEPS):
        total.append(atoms.get_total_energy())
        kelvin.append(atoms.get_temperature())
    picoseconds = np.arange(len(total)) * TIMESTEP / 1000
    drift = np.polyfit(picoseconds, np.array(total) * 1000 / len(atoms), 1)[0]
    assert 200 < np.mean(kelvin) < 400, "the molecule is not near 300 K"
    assert abs(drift) < LIMIT, f"total energy drifts by {drift:.3f} meV/atom/ps"
