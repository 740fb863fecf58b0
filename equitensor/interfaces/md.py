"""Molecular dynamics through ASE: NVE, Langevin NVT and NPT, stopped when the structure flies apart."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.verlet import VelocityVerlet

from equitensor.errors import InputError
from equitensor.interfaces.constraints import (
    HeldCentre,
    check_dynamics,
    degrees_of_freedom,
    exact_constraints,
    moves_as_a_whole,
)
from equitensor.interfaces.md_summary import Summary
from equitensor.interfaces.stability import StabilityWatch, refusals_are_unstable
from equitensor.interfaces.trajectory import TrajectoryWriter, check_holds_constraints

ENSEMBLES = ("nve", "nvt", "npt")


@dataclass(frozen=True)
class MDSettings:
    """Settings of a run: temperature in K, timestep in fs, friction in 1/ps, pressure in bar.

    A frame is written every `interval` steps. nve is velocity Verlet. nvt is Langevin dynamics with the BAOAB splitting
    (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102, 2013), with the centre of mass at rest. npt adds a Langevin
    piston on the volume (Quigley and Probert, J. Chem. Phys. 120, 11432, 2004); the shape of the cell does not change.
    """

    ensemble: str = "nve"
    temperature: float = 300.0
    timestep: float = 0.5
    friction: float = 10.0
    pressure: float = 1.0
    interval: int = 10
    seed: int = 0

    def __post_init__(self):
        if self.ensemble not in ENSEMBLES:
            raise InputError(f"ensemble {self.ensemble!r} is unknown: say {', '.join(ENSEMBLES)}")
        for name in ("timestep", "friction", "interval"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed is {self.seed}; it must be 0 or more, and below 2^32")
        if not self.temperature >= 0:
            raise InputError(f"temperature is {self.temperature} K; it must be 0 or more")


@dataclass(frozen=True)
class Sample:
    """One moment: time fs, potential and kinetic energy eV, temperature K, volume Angstrom^3 (0: no cell)."""

    step: int
    time: float
    potential: float
    kinetic: float
    temperature: float
    volume: float

    @property
    def total(self) -> float:
        return self.potential + self.kinetic


def simulate(atoms, steps: int, settings: MDSettings, first_step=0, first_time=0.0) -> Iterator[Sample]:
    """Move atoms that have a calculator and velocities; yield a Sample at the start and after every step.

    The random numbers of nvt and npt come from (seed, first_step), so a restart draws new ones.
    Constraints are kept, by ASE's RATTLE in nve, by the constrained form of BAOAB (Leimkuhler and Matthews, Proc. R.
    Soc. A 472, 20160138, 2016) in nvt. Raises InputError for npt without full periodicity or with constraints, and for
    constraints that dynamics cannot hold; UnstableError when the atoms fly apart.
    """
    check_dynamics(atoms, settings.ensemble)
    atoms.get_forces()  # what the calculator refuses at the start is the user's input, not an instability
    freedom = max(degrees_of_freedom(atoms, settings.ensemble), 1)
    rng = np.random.default_rng([settings.seed, first_step])
    watch = None
    with exact_constraints(atoms, *_held_centre(atoms, settings.ensemble)):
        if atoms.constraints:
            atoms.set_momenta(atoms.get_momenta())  # what a constraint holds has no velocity, whoever drew it
        dynamics = _integrator(atoms, settings, rng)
        for step in _advance(dynamics, steps, first_step):
            time = first_time + (step - first_step) * settings.timestep
            sample = _sample(atoms, step, time, freedom)
            watch = watch or StabilityWatch(atoms, max(settings.temperature, sample.temperature))
            watch.check(atoms, sample)
            yield sample


def _advance(dynamics, steps, first_step):
    """The number of every step done; what the calculator refuses on the way is the dynamics' doing."""
    with refusals_are_unstable(lambda: f"after step {first_step + dynamics.nsteps}"):
        for _ in dynamics.irun(steps):
            yield first_step + dynamics.nsteps


def _held_centre(atoms, ensemble):
    """Under Langevin forces the centre of mass would wander off: in nvt it is held, unless constraints hold atoms."""
    return [HeldCentre()] if ensemble == "nvt" and len(atoms) > 1 and moves_as_a_whole(atoms) else []


def run_md(
    atoms: Atoms,
    steps: int,
    settings: MDSettings,
    out: str | Path,
    first_step: int = 0,
    first_time: float = 0.0,
    append: bool = False,
    overwrite: bool = False,
    on_step: Callable[[Sample], None] | None = None,
) -> Summary:
    """Run molecular dynamics from the current state of the atoms; write frames, a table and a plot next to `out`.

    With `append` the trajectory continues after its last frame, which has first_step and first_time (fs). on_step is
    called with every Sample. Raises what `simulate` raises, after writing and plotting what was reached.
    """
    summary = Summary(len(atoms), settings)
    samples = simulate(atoms, steps, settings, first_step, first_time)
    check_holds_constraints(out, atoms)
    start = next(samples)  # before any file is touched: the input may be refused
    with TrajectoryWriter(out, append, overwrite, first_step) as writer:
        for sample in chain([start], samples):
            last = sample.step == first_step + steps
            if (sample.step % settings.interval == 0 or last) and not (append and sample.step == first_step):
                writer.write(atoms, sample)
            summary.add(sample)
            if on_step:
                on_step(sample)
    return summary


def _integrator(atoms, settings, rng):
    timestep = settings.timestep * units.fs
    if settings.ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    bath = {
        "temperature_K": settings.temperature,
        "T_tau": 1000 * units.fs / settings.friction,
        "rng": rng,
    }
    if settings.ensemble == "npt":
        _check_npt(atoms)
        bath |= {
            "externalstress": -settings.pressure * units.bar,
            "hydrostatic": True,
            "P_tau": max(1000.0, 200 * settings.timestep) * units.fs,
        }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using heuristic P_mass")
        return _Langevin(atoms, timestep, **bath)


class _Langevin(LangevinBAOAB):
    """ASE's, which moves positions past the constraints; here they hold positions as well as momenta."""

    def _BAOAB_A(self):
        if not self.atoms.constraints:
            return super()._BAOAB_A()
        step, before = 0.5 * self.dt, self.atoms.get_positions()
        self.atoms.set_positions(before + step * self.atoms.get_velocities())
        self.atoms.set_velocities((self.atoms.positions - before) / step)


def _check_npt(atoms):
    if not atoms.pbc.all():
        raise InputError("npt needs a structure that is periodic along a, b and c; this one is not: use nvt")


def _sample(atoms, step, time, freedom):
    kinetic = atoms.get_kinetic_energy()
    return Sample(
        step=step,
        time=time,
        potential=atoms.get_potential_energy(),
        kinetic=kinetic,
        temperature=2 * kinetic / (freedom * units.kB),
        volume=atoms.get_volume() if atoms.pbc.all() else 0.0,
    )
