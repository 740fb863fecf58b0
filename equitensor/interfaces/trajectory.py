"""Trajectories that grow frame by frame: .traj or .extxyz, with a table and a plot beside them."""

import csv
from pathlib import Path

import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory

from equitensor.errors import InputError
from equitensor.interfaces.constraints import HeldCentre

SUFFIXES = (".traj", ".extxyz", ".xyz")
COLUMNS = ("step", "time", "potential", "kinetic", "total", "temperature", "volume")
UNITS = ("", "fs", "eV", "eV", "eV", "K", "Angstrom^3")


class TrajectoryWriter:
    """Appends frames (positions, momenta, energy, forces, step and time in `info`) and rows of energies.

    A .traj file keeps every digit, so that a restart from it continues exactly; extended xyz rounds to 1e-8.
    The table is <out>.csv, the plot, drawn when the writer closes, <out>.png.
    Raises InputError where one of the three exists.
    """

    def __init__(self, out, append: bool = False, overwrite: bool = False):
        self.out = trajectory_path(out)
        self.table, self.plot = self.out.with_suffix(".csv"), self.out.with_suffix(".png")
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if not append:
            self._clear(overwrite)
        self._frames = None
        if self.out.suffix == ".traj":
            self._frames = Trajectory(self.out, "a" if self.out.exists() else "w")
        fresh = not self.table.exists()
        self._csv = self.table.open("a", newline="")
        self._rows = csv.writer(self._csv)
        if fresh:
            self._rows.writerow([f"{c} ({u})" if u else c for c, u in zip(COLUMNS, UNITS, strict=True)])

    def _clear(self, overwrite):
        for path in (self.out, self.table, self.plot):
            if path.exists() and not overwrite:
                raise InputError(f"{path} exists: restart from it, choose another name, or allow to overwrite it")
        for path in (self.out, self.table, self.plot):
            path.unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._csv.close()
        if self._frames is not None:
            self._frames.close()
        plot_table(self.table, self.plot)

    def write(self, atoms, sample) -> None:
        """Append this frame and its row; both are on disk when this returns."""
        frame = _frame(atoms, sample)
        if self._frames is not None:
            self._frames.write(frame)
        else:
            ase.io.write(self.out, frame, format="extxyz", append=True)
        self._rows.writerow([getattr(sample, column) for column in COLUMNS])
        self._csv.flush()


def trajectory_path(out) -> Path:
    """The path of a trajectory. Raises InputError for an ending that is neither .traj nor extended xyz."""
    out = Path(out)
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out}: a trajectory ends in {', '.join(SUFFIXES)}")
    return out


def read_atoms(path):
    """The last structure of any file that ASE reads ("file@3": the fourth), or an InputError.

    Labels (energies, forces under any name) and velocities are left behind: the atoms will move.
    """
    return _bare(_read(path), "numbers", "positions", "masses", "tags")


def read_restart(path):
    """The last frame of a trajectory, its step and its time in fs. Raises InputError where it has no velocities."""
    last = _read(trajectory_path(path))
    if not {"step", "time"} <= set(last.info) or not last.has("momenta"):
        raise InputError(f"{path}: its last frame has no step or velocities: restart from a trajectory of md")
    step, time = int(last.info["step"]), float(last.info["time"])
    return _bare(last, "numbers", "positions", "masses", "tags", "momenta"), step, time


def _read(path):
    path, index = Path(path), -1
    if not path.is_file() and "@" in path.name:
        name, _, index = path.name.rpartition("@")
        path = path.with_name(name)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        atoms = ase.io.read(path, index=int(index))
    except Exception as error:  # every format of ASE's fails in its own way
        raise InputError(f"{path}: ASE finds no structure in it ({type(error).__name__}: {error})") from None
    if len(atoms) == 0:
        raise InputError(f"{path}: the structure has no atoms")
    return atoms


def _bare(atoms, *arrays):
    """The atoms with these arrays, cell and constraints, and nothing else."""
    for name in set(atoms.arrays) - set(arrays):
        del atoms.arrays[name]
    atoms.info.clear()
    atoms.calc = None
    return atoms


def plot_table(table, out) -> None:
    """Draw the energies and the temperature of a table over time into a PNG."""
    from matplotlib.figure import Figure

    rows = Path(table).read_text().splitlines()[1:]
    if not rows:
        return
    column = dict(zip(COLUMNS, np.loadtxt(rows, delimiter=",", ndmin=2).T, strict=True))
    figure = Figure(figsize=(7, 5), layout="constrained")
    energy, temperature = figure.subplots(2, sharex=True)
    for name in ("potential", "total"):
        energy.plot(column["time"] / 1000, column[name] - column["total"][0], label=name, linewidth=1)
    energy.set_ylabel("energy - first total (eV)")
    energy.legend()
    temperature.plot(column["time"] / 1000, column["temperature"], color="tab:red", linewidth=1)
    temperature.axhline(column["temperature"].mean(), color="gray", linewidth=0.8, linestyle="--")
    temperature.set_ylabel("temperature (K)")
    temperature.set_xlabel("time (ps)")
    figure.savefig(out, dpi=150)


def _frame(atoms, sample):
    """A copy of the atoms with what a reader, or a restart, needs."""
    frame = atoms.copy()
    frame.set_constraint([c for c in atoms.constraints if not isinstance(c, HeldCentre)])
    frame.info |= {"step": sample.step, "time": sample.time}
    energy, forces = atoms.get_potential_energy(apply_constraint=False), atoms.get_forces(apply_constraint=False)
    frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces)
    return frame
