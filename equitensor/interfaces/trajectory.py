"""Trajectories that grow frame by frame: .traj or .extxyz, with a table and a plot beside them."""

import csv
import re
from pathlib import Path

import ase.io
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian
from ase.io.trajectory import Trajectory

from equitensor.data.frames import drop_cut_frame, format_of, read_frame, split_index, warn_cut, whole_frames
from equitensor.data.single_frame import read_single
from equitensor.errors import InputError
from equitensor.interfaces.constraints import HeldCentre, names, simplified
from equitensor.interfaces.md_plot import COLUMNS, UNITS, plot_table
from equitensor.whole_file import write_whole

SUFFIXES = (".traj", ".extxyz", ".xyz")
# Columns and entries that belong to the positions or velocities they were read with.
_LABEL = re.compile("(?!initial_).*(energ|forc|stress|virial|grad|momenta|velocit|pole|polari|magmom)", re.IGNORECASE)


class TrajectoryWriter:
    """Appends frames (positions, momenta, energy, forces, step and time in `info`) and rows of energies.

    A .traj file keeps every digit, so that a restart from it continues exactly; extended xyz rounds to 1e-8.
    The table is <out>.csv, the plot, drawn when the writer closes, <out>.png. To append, what a killed run left of a
    frame is cut off, and rows after `first_step` are.
    Raises InputError where one of the three exists.
    """

    def __init__(self, out, append: bool = False, overwrite: bool = False, first_step: int = 0):
        self.out = trajectory_path(out)
        self.table, self.plot = self.out.with_suffix(".csv"), self.out.with_suffix(".png")
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if append:
            drop_cut_frame(self.out)
            _drop_rows(self.table, first_step)
        else:
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
                raise InputError(f"{path} exists: restart from it, choose another name, or use overwrite")
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


def check_holds_constraints(out, atoms) -> None:
    """Raise InputError where a trajectory of this ending would lose constraints of the atoms, and a restart with it."""
    if lost := fit_constraints(atoms.copy(), out):
        raise InputError(f"{out}: extended xyz cannot hold {names(lost)}: write a .traj")


def fit_constraints(atoms, out) -> list:
    """Where `out` is extended xyz, simplify the constraints; returns those that it cannot hold."""
    if format_of(out) != "extxyz":
        return []
    atoms.set_constraint(simplified(atoms))
    return [c for c in atoms.constraints if not isinstance(c, FixAtoms | FixCartesian)]


def read_atoms(path):
    """The last structure of anything that `data convert` takes, or a store ("file@3": the fourth), or an InputError.

    Labels (energies, forces under any name) and velocities are left behind: the atoms will move.
    """
    return read_structure(path)[0]


def read_structure(path) -> tuple:
    """The atoms as read_atoms gives them, and the names of the labels that were left behind."""
    atoms = read_single(*split_index(path))
    return atoms, _leave_labels(atoms)


def path_for(structure, ending: str) -> Path:
    """A file in the working directory named for a structure: "-md.traj" of "data/POSCAR@3" is POSCAR-md.traj."""
    return Path(split_index(structure)[0].stem + ending)


def compute_first(atoms, path) -> None:
    """Forces of a structure as it was read; what the calculator refuses names the file."""
    try:
        atoms.get_forces()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_restart(path):
    """The last whole frame of a trajectory, its step and its time in fs. InputError where it has no velocities."""
    path = trajectory_path(path)
    split_index(path)
    count = whole_frames(path)
    if count:
        warn_cut(path, count)
    last = read_frame(path, None if count is None else count - 1) if count != 0 else None
    if last is None or not {"step", "time"} <= set(last.info) or not last.has("momenta"):
        raise InputError(f"{path}: its last frame has no step or velocities: restart from a trajectory of md")
    step, time = int(last.info.pop("step")), float(last.info.pop("time"))
    momenta = last.get_momenta()
    _leave_labels(last)
    last.set_momenta(momenta, apply_constraint=False)
    return last, step, time


def _leave_labels(atoms) -> list[str]:
    """Take off the calculator, labels and velocities; join constraints, of which extended xyz makes one an atom."""
    left = {name for name in (*atoms.arrays, *atoms.info) if _LABEL.match(name)}
    for name in left:
        atoms.arrays.pop(name, None)
        atoms.info.pop(name, None)
    atoms.calc = None
    if len(atoms.constraints) > 1:
        atoms.set_constraint(_joined(atoms))
    return sorted(left)


def _joined(atoms) -> list:
    """Constraints of the same kind and directions as one; FixScaled stays what it is, for a cell that relaxes."""
    scaled = [c for c in atoms.constraints if not isinstance(c, FixAtoms | FixCartesian)]
    bare = atoms.copy()
    bare.set_constraint([c for c in atoms.constraints if isinstance(c, FixAtoms | FixCartesian)])
    return simplified(bare) + scaled


def _drop_rows(table: Path, last_step: int) -> None:
    """Leave the rows up to this step; those after it, or cut short, are of frames that are not there."""
    if not table.exists():
        return
    header, *rows = table.read_text().splitlines(keepends=True) or [""]
    whole = [row for row in rows if row.endswith("\n") and row.count(",") == len(COLUMNS) - 1]
    kept = [row for row in whole if int(row.split(",")[0]) <= last_step]
    if len(kept) < len(rows):
        write_whole(table, "".join([header, *kept]))


def _frame(atoms, sample):
    """A copy of the atoms with what a reader, or a restart, needs."""
    frame = atoms.copy()
    frame.set_constraint([c for c in atoms.constraints if not isinstance(c, HeldCentre)])
    frame.info |= {"step": sample.step, "time": sample.time}
    energy, forces = atoms.get_potential_energy(apply_constraint=False), atoms.get_forces(apply_constraint=False)
    frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces)
    return frame
