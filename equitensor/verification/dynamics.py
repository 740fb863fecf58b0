"""Energy is conserved in molecular dynamics."""

from collections.abc import Iterator

import numpy as np
from ase import units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet

from equitensor.verification.derivatives import hessian_block, moves
from equitensor.verification.finding import Deviation, NotApplicable
from equitensor.verification.subject import Subject, energy_of, refusal

TEMPERATURE = 300.0  # K
STEPS, FEWEST = 300, 40
PER_RADIAN = 0.08  # time step times the highest frequency: Verlet's own error is then 1e-3 of a mode's energy
FARTHEST = 0.5  # Angstrom: within it the frequencies at the start hold
OF_KINETIC = 5e-3  # the largest drift, of the mean kinetic energy


def drift(subject: Subject) -> Iterator[Deviation]:
    """Total energy at the end of a short NVE run less that at the start (means of a fifth of the run each)."""
    steps = min(STEPS, subject.affordable(0.15))
    if steps < FEWEST:
        raise NotApplicable("a call takes too long for a run of molecular dynamics")
    timestep = _timestep(subject)
    total, kinetic = _run(subject, steps, timestep)
    steps = len(total) - 1
    if steps < FEWEST:
        raise NotApplicable(f"atoms move {FARTHEST} Angstrom in {steps} steps: the structure is far from any minimum")
    window = max(steps // 5, 1)
    change = abs(total[-window:].mean() - total[:window].mean())
    bound = OF_KINETIC * kinetic.mean() + 8 * subject.rounding.energy / len(subject.base)
    where = f"{steps} steps of {timestep / units.fs:.2f} fs"
    yield Deviation("drift", change, bound, "eV/atom", where)


def _timestep(subject: Subject) -> float:
    displaced = moves(subject)
    masses = np.repeat(subject.base.get_masses(), 3)[displaced.coordinates]
    block = hessian_block(displaced)
    dynamical = (block + block.T) / 2 / np.sqrt(np.outer(masses, masses))
    highest = np.sqrt(max(abs(np.linalg.eigvalsh(dynamical)).max(), 1e-6))
    fastest = 2 * np.sqrt(3 * units.kB * TEMPERATURE / subject.base.get_masses().min())
    longest = min(FARTHEST / (2 * FEWEST * fastest), 4 * units.fs)
    return float(np.clip(PER_RADIAN / highest, 0.02 * units.fs, longest))


def _run(subject: Subject, steps: int, timestep: float) -> tuple[np.ndarray, np.ndarray]:
    """Total and kinetic energies per atom at each step, in eV, until an atom is far from where it was."""
    atoms = subject.base.copy()
    MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE, rng=subject.random)
    Stationary(atoms)
    atoms.calc = subject.calculator
    rows = []
    try:
        integrator = VelocityVerlet(atoms, timestep)
        for _ in integrator.irun(steps):
            kinetic = atoms.get_kinetic_energy()
            rows.append((energy_of(atoms) + kinetic, kinetic))
            if abs(atoms.positions - subject.base.positions).max() > FARTHEST:
                break
    except Exception as error:
        raise refusal(error) from None
    subject.calls += len(rows)
    return tuple(np.array(rows).T / len(atoms))
