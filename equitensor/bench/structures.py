"""The two structures on which force calls are timed, and the motion that an MD run would give them."""

import numpy as np
from ase import Atoms
from ase.build import bulk

# Acetylacetone, the enol, relaxed with GFN2-xTB (Angstrom).
ACETYLACETONE = (
    ("O", -1.293, 1.624, -0.007),
    ("O", 1.268, 1.675, -0.007),
    ("C", -1.179, 0.308, -0.001),
    ("C", 0.032, -0.316, 0.003),
    ("C", 1.255, 0.441, -0.001),
    ("C", -2.476, -0.440, 0.002),
    ("C", 2.535, -0.355, 0.002),
    ("H", 0.084, -1.391, 0.005),
    ("H", -0.365, 2.002, -0.009),
    ("H", -3.299, 0.269, 0.008),
    ("H", -2.540, -1.078, 0.881),
    ("H", -2.550, -1.073, -0.880),
    ("H", 3.389, 0.317, 0.020),
    ("H", 2.561, -1.007, 0.873),
    ("H", 2.578, -0.978, -0.889),
)


def acac() -> Atoms:
    """Acetylacetone C5H8O2, 15 atoms, not periodic."""
    return Atoms([row[0] for row in ACETYLACETONE], positions=[row[1:] for row in ACETYLACETONE])


def silicon() -> Atoms:
    """Diamond silicon, 3x3x3 cubic cells, 216 atoms, periodic."""
    return bulk("Si", "diamond", a=5.43, cubic=True).repeat(3)


STRUCTURES = {"acac": acac, "silicon216": silicon}


def vibration(atoms: Atoms, frames: int, amplitude: float = 0.07, period: int = 40, seed: int = 0) -> np.ndarray:
    """Positions (frames, n, 3) of atoms that oscillate about `atoms`, in steps as an MD run takes them.

    Every coordinate moves as a_i sin(2 pi t / period + phase_i), a_i normal of deviation `amplitude` (A).
    A neighbour list with a skin is therefore rebuilt now and then, as in MD, and not at every call.
    """
    random = np.random.default_rng(seed)
    size = random.normal(0.0, amplitude, atoms.positions.shape)
    phase = random.uniform(0.0, 2.0 * np.pi, atoms.positions.shape)
    time = np.arange(frames)[:, None, None]
    return atoms.positions + size * np.sin(2.0 * np.pi * time / period + phase)
