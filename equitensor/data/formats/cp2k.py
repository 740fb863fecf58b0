"""CP2K's trajectories: positions and energies in `X-pos-1.xyz`, forces in `X-frc-1.xyz`, cells in `X-1.cell`.

Positions are in Angstrom, energies in Hartree, forces in Hartree/Bohr. Frames belong together by their step.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from equitensor.data.formats.xyz import frames as xyz_frames
from equitensor.data.formats.xyz import head, is_cp2k
from equitensor.errors import InputError

_log = logging.getLogger(__name__)
_POSITIONS = re.compile(r"(?P<project>.*)-pos(?P<run>-\d+)(?P<ending>\.xyz(?:\.(?:gz|bz2|xz))?)")
_COMPANION = re.compile(r".*-(?:frc|vel)-\d+\.xyz(?:\.(?:gz|bz2|xz))?")
_CELLS = re.compile(r".*-\d+\.cell")
UNITS = {"energy_unit": "Hartree", "forces_unit": "Hartree/Bohr"}


def is_companion(path: Path) -> bool:
    """Whether a file holds CP2K's forces, velocities or cells, without positions."""
    if _COMPANION.fullmatch(path.name):
        return is_cp2k(path)
    return _CELLS.fullmatch(path.name) is not None and head(path, 1)[0].split()[:2] == ["#", "Step"]


def frames(path: Path) -> Iterator:
    """The ase.Atoms of a file of positions, with a "forces" column and a cell where the files beside it have them.

    Energy and forces are in CP2K's units (`UNITS`). Raises InputError where the files do not belong together.
    """
    forces = cells = None
    missing = []
    if match := _POSITIONS.fullmatch(path.name):
        project, run, ending = match["project"], match["run"], match["ending"]
        forces = _beside(path, f"{project}-frc{run}{ending}", missing)
        cells = _beside(path, f"{project}{run}.cell", missing)
    else:
        missing = ["X-frc-1.xyz", "X-1.cell (the names that go with X-pos-1.xyz)"]
    absent = ["no forces"] * (forces is None) + ["no cell, so molecules without periodicity are read"] * (cells is None)
    if absent:
        _log.warning("%s: %s; CP2K writes them into %s beside it", path, " and ".join(absent), " and ".join(missing))
    forces = None if forces is None else _Forces(forces)
    cells = None if cells is None else _read_cells(cells)
    count = matched = 0
    for atoms in xyz_frames(path, "Hartree"):
        count += 1
        step = atoms.info.get("step")
        if cells is not None:
            atoms.set_cell(_cell(cells, step, path))
            atoms.pbc = True
        if forces is not None and (values := forces.at(step, atoms)) is not None:
            atoms.new_array("forces", values)
            matched += 1
        yield atoms
    if forces is not None and matched < count:
        _log.warning("%s: only %d of %d frames have forces in %s", path, matched, count, forces.path.name)


def _beside(path, name, missing):
    if (path.parent / name).is_file():
        return path.parent / name
    missing.append(name)
    return None


class _Forces:
    """The frames of a file of forces, read along with those of the positions."""

    def __init__(self, path):
        self.path = path
        self._frames = xyz_frames(path, "Hartree")
        self._next = next(self._frames, None)

    def at(self, step, atoms):
        """(n, 3) forces in Hartree/Bohr of that step, or None."""
        while self._next is not None and self._next.info.get("step", -1) < step:
            self._next = next(self._frames, None)
        if self._next is None or self._next.info.get("step") != step:
            return None
        here, self._next = self._next, next(self._frames, None)
        if here.numbers.tolist() != atoms.numbers.tolist():
            raise InputError(f"{self.path}, step {step}: its atoms are others than those of the positions beside it")
        return here.positions


def _read_cells(path):
    """Step -> (3, 3) cell in Angstrom: the columns are step, time, nine components, volume."""
    try:
        table = np.loadtxt(path, ndmin=2)
        return {int(row[0]): row[2:11].reshape(3, 3) for row in table}
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: not CP2K's table of cells ({error})") from None


def _cell(cells, step, path):
    if step in cells:
        return cells[step]
    first = next(iter(cells.values()), None)
    if first is None or any(not np.allclose(cell, first) for cell in cells.values()):
        raise InputError(f"{path}, step {step}: the file of cells beside it has no cell for this step")
    return first
