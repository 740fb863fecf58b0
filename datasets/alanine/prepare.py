"""Make the alanine data set: Langevin dynamics and labels with GFN2-xTB through tblite.

    pip install tblite ase
    OMP_NUM_THREADS=1 python datasets/alanine/prepare.py

About ten minutes on one core. Every trajectory has its own seed, so that any of them can be repeated alone.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.optimize import BFGS
from molecules import bonds, grow
from tblite.ase import TBLite

TIMESTEP = 1.0  # fs
FRICTION = 0.02  # 1/fs
HEATING = (1000, 300)  # K, steps: over the barriers between conformers, so that trajectories start apart
COOLING = 300  # steps at the trajectory's own temperature before its first frame
INTERVAL = 50  # steps between frames
MULTIPLICITY = {"H": 2, "C": 3, "N": 4, "O": 3}
RELATIVES = ("glycine", "acetic_acid", "propanoic_acid", "ethylamine")


@dataclass(frozen=True)
class Trajectory:
    """One Langevin run: `frames` snapshots of `molecule` at `temperature` kelvin, the `replica`-th such."""

    molecule: str
    temperature: int
    replica: int
    frames: int

    @property
    def config_type(self):
        return f"{self.molecule}_{self.temperature}K"

    @property
    def name(self):
        return f"{self.config_type}_{self.replica}"

    def rng(self, seed):
        return np.random.default_rng([seed, *self.name.encode()])


def runs(molecule, temperature, replicas, frames):
    return [Trajectory(molecule, temperature, replica, frames) for replica in range(replicas)]


FILES = {
    "train.xyz": [
        *(run for kelvin in (300, 450, 600) for run in runs("alanine", kelvin, 4, 40)),
        *(run for name in RELATIVES for kelvin in (300, 600) for run in runs(name, kelvin, 2, 15)),
    ],
    "test_hot.xyz": runs("alanine", 900, 4, 50),
    "test_relative.xyz": [run for kelvin in (300, 600) for run in runs("beta_alanine", kelvin, 2, 25)],
}


def gfn2(**options):
    return TBLite(method="GFN2-xTB", verbosity=0, **options)


def relaxed(atoms):
    """The molecule at a minimum of GFN2-xTB, with the bonds it came with."""
    expected = bonds(atoms)
    atoms.calc = gfn2()
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=500)
    if bonds(atoms) != expected:
        raise RuntimeError(f"{atoms.get_chemical_formula()} changed its bonds while it was relaxed")
    return atoms


def intact(atoms, expected):
    """True while bonds are shorter than 1.6, other pairs longer than 1.2 sums of covalent radii."""
    return expected <= bonds(atoms, 1.6) and bonds(atoms, 1.2) <= expected


def sample(start, trajectory, seed):
    """Positions, rounded to 1e-6 Angstrom, of each frame; a RuntimeError where the molecule breaks."""
    rng = trajectory.rng(seed)
    expected = bonds(start)
    atoms = start.copy()
    atoms.calc = gfn2()
    hot, steps = HEATING
    friction = FRICTION / units.fs
    dynamics = Langevin(atoms, TIMESTEP * units.fs, temperature_K=hot, friction=friction, rng=rng, fixcm=False)
    dynamics.run(steps)
    dynamics.set_temperature(temperature_K=trajectory.temperature)
    dynamics.run(COOLING - INTERVAL)
    for frame in range(trajectory.frames):
        dynamics.run(INTERVAL)
        if not intact(atoms, expected):
            raise RuntimeError(f"{trajectory.name}: the molecule has changed its bonds before frame {frame}")
        yield np.round(atoms.positions - atoms.get_center_of_mass(), 6)


def label(symbols, positions, accuracy=0.01, **options):
    """Energy (eV) and forces (eV/Angstrom) from a fresh, tightly converged SCF."""
    atoms = Atoms(symbols, positions, calculator=gfn2(accuracy=accuracy, **options))
    return atoms.get_potential_energy(), atoms.get_forces()


def frame_text(symbols, positions, **info):
    """One frame of extxyz: positions, and forces where `info` has them, with six decimals."""
    forces = info.pop("forces", None)
    columns = "species:S:1:pos:R:3" + (":forces:R:3" if forces is not None else "")
    rows = positions if forces is None else np.hstack([positions, forces])
    header = [f"Properties={columns}", *(f"{key}={value}" for key, value in info.items()), 'pbc="F F F"']
    lines = [str(len(symbols)), " ".join(header)]
    lines += [f"{s:2}" + "".join(f"{x:12.6f}" for x in row) for s, row in zip(symbols, rows, strict=True)]
    return "\n".join(lines) + "\n"


def labelled_frames(start, trajectory, seed):
    symbols = [str(s) for s in start.symbols]
    for positions in sample(start, trajectory, seed):
        energy, forces = label(symbols, positions)
        info = {
            "energy": f"{energy:.6f}",
            "config_type": trajectory.config_type,
            "trajectory": trajectory.name,
        }
        yield frame_text(symbols, positions, forces=forces, **info)


def isolated_atoms():
    for symbol, multiplicity in MULTIPLICITY.items():
        positions = np.zeros((1, 3))
        energy, _ = label([symbol], positions, multiplicity=multiplicity)
        yield frame_text([symbol], positions, energy=f"{energy:.6f}", config_type="isolated_atom")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder (default: this one)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    starts = {name: relaxed(atoms) for name, atoms in grow().items()}
    alanine = starts["alanine"]
    centred = alanine.positions - alanine.get_center_of_mass()
    (options.out / "alanine.xyz").write_text(frame_text([str(s) for s in alanine.symbols], centred))
    (options.out / "isolated_atoms.xyz").write_text("".join(isolated_atoms()))
    for name, trajectories in FILES.items():
        with open(options.out / name, "w") as file:
            for trajectory in trajectories:
                file.writelines(labelled_frames(starts[trajectory.molecule], trajectory, options.seed))
                print(f"{name}: {trajectory.name}, {trajectory.frames} frames", flush=True)


if __name__ == "__main__":
    main()
