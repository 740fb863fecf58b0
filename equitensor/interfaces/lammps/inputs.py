"""A data file and an input script of LAMMPS to start from, for any structure that ASE reads."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.constraints import FixAtoms
from ase.data import atomic_numbers
from ase.io.lammpsdata import write_lammps_data

from equitensor.errors import InputError
from equitensor.graph.geometry import check_cell
from equitensor.interfaces.constraints import names, simplified
from equitensor.interfaces.structure_check import StructureCheck
from equitensor.models import model_path, read_header
from equitensor.whole_file import whole_file, write_whole


class Box(NamedTuple):
    """A structure as LAMMPS wants it: in a full cell, whose first vector is along x and second in the xy plane.

    Attributes: atoms, with a vector in every direction; prism, between ASE's orientation and LAMMPS's; symbols, the
    element of each atom type; boundary, LAMMPS's word for each direction.
    """

    atoms: Atoms
    prism: Prism
    symbols: list[str]
    boundary: str


def box(atoms: Atoms, margin: float = 10.0) -> Box:
    """The box of a structure; directions that are not periodic get a wall that follows the atoms.

    Raises InputError for a periodic direction without a vector and for one element with several masses: a type has one.
    """
    check_cell(atoms.cell.array, atoms.pbc)
    atoms = atoms.copy()
    _complete(atoms, margin)
    symbols = sorted(set(atoms.get_chemical_symbols()), key=lambda symbol: atomic_numbers[symbol])
    for symbol in symbols:
        masses = np.unique(atoms.get_masses()[atoms.symbols == symbol])
        if len(masses) > 1:
            raise InputError(
                f"the atoms of {symbol} have masses from {masses[0]:g} to {masses[-1]:g}, but an atom type of LAMMPS "
                "has one: give them the same, or write the data file with types of your own"
            )
    # The shortest vectors of the same lattice. A prism of these leaves them and all vectors unwrapped, velocities too.
    tilted = Prism(atoms.cell.array, pbc=atoms.pbc)
    atoms.set_cell(tilted.lammps_cell @ tilted.rot_mat.T)
    boundary = " ".join("p" if periodic else "s" for periodic in atoms.pbc)
    return Box(atoms, Prism(atoms.cell.array, pbc=atoms.pbc), symbols, boundary)


def write_data(path, box: Box) -> None:
    """LAMMPS's data file: box, masses, positions; velocities where there are some."""
    moving = bool(np.any(box.atoms.get_momenta()))
    with whole_file(path) as partial, partial.open("w") as file:
        options = {"specorder": box.symbols, "prismobj": box.prism, "masses": True, "velocities": moving}
        write_lammps_data(file, box.atoms, units="metal", **options)


def setup(box: Box, data, model, dtype: str = "float32", without_d3: bool = False) -> str:
    """The first part of an input script: units, box, data file, pair style.

    Beside a model that learned labels without their dispersion stands dispersion/d3, unless without_d3 is said. Raises
    InputError for a damping that LAMMPS does not have there.
    """
    tilt = "box tilt large\n" if box.prism.is_skewed() else ""
    return (
        f"units metal\natom_style atomic\nboundary {box.boundary}\n{tilt}read_data {_quoted(data)}\n\n"
    ) + _pair_style(model, dtype, " ".join(box.symbols), without_d3)


# The cutoffs of the package dftd3, 60 and 40 Bohr, in Angstrom: of pairs, of coordination numbers.
_D3_CUTOFFS = "31.75 21.17"
_D3_DAMPINGS = ("bj", "bjm", "zerom")  # of dispersion/d3 in hybrid styles, which take its zero for pair_style zero


def _pair_style(model, dtype: str, symbols: str, without_d3: bool) -> str:
    d3 = read_header(model).get("d3")
    if d3 is None or without_d3:
        word = " without_d3" if d3 is not None else ""
        return f"pair_style equitensor {dtype}{word}\npair_coeff * * {_quoted(model)} {symbols}\n"
    method, _, damping = d3.rpartition("-")
    if damping not in _D3_DAMPINGS:
        raise InputError(
            f"{model} learned labels without their dispersion (d3 {d3}), and the damping {damping} of LAMMPS's "
            f"dispersion/d3 cannot stand beside another style ({', '.join(_D3_DAMPINGS)} can): use ASE for this model"
        )
    return (
        f"# The model learned labels without their dispersion (d3 {d3}), which dispersion/d3 adds: keep both.\n"
        "# The cutoffs are those of the calculator; shorter ones (15.0 12.0) are quicker and less exact.\n"
        f"pair_style hybrid/overlay equitensor {dtype} dispersion/d3 {damping} {method} {_D3_CUTOFFS}\n"
        f"pair_coeff * * equitensor {_quoted(model)} {symbols}\npair_coeff * * dispersion/d3 {symbols}\n"
        "neigh_modify one 50000 page 500000\n"  # there are 12 000 within 32 Angstrom of an atom of copper
    )


def dynamics(box: Box) -> str:
    """The second part: 1 ps at constant energy from 300 K, or from the velocities of the structure."""
    lines = ["", "neighbor 1.0 bin", "timestep 0.0005  # ps"]
    lines += ["thermo 100", "thermo_style custom step temp pe etotal press"]
    group, fixed = "all", _fixed(box.atoms)
    if len(fixed):
        group = "mobile"
        lines += [f"group fixed id {_ranges(fixed + 1)}", "group mobile subtract all fixed"]
    if np.any(box.atoms.get_momenta()):
        lines += [f"velocity fixed set 0 0 0  # {len(fixed)} atoms"] if len(fixed) else []
    else:
        lines += [f"velocity {group} create 300 1 loop geom"]
    lines += [
        f"fix 1 {group} nve  # or: fix 1 {group} nvt temp 300 300 0.1",
        "dump 1 all custom 100 dump.lammpstrj id element xu yu zu fx fy fz",
        f"dump_modify 1 sort id element {' '.join(box.symbols)}",
        "run 2000",
    ]
    return "\n".join(lines) + "\n"


def write(model, atoms: Atoms, name, dtype: str = "float32", overwrite: bool = False) -> tuple[Path, Path]:
    """Write NAME.in and NAME.data, and give their paths.

    Raises InputError where one exists, or LAMMPS has no such structure (see `box`).
    """
    script, data = paths(name, overwrite)
    prepared = box(atoms)
    head = f"# Written by equitensor for {len(atoms)} atoms, {atoms.symbols.formula:metal}. Change what you like.\n\n"
    text = head + setup(prepared, data.name, model_path(model).resolve(), dtype) + dynamics(prepared)
    write_data(data, prepared)
    write_whole(script, text)
    return script, data


def paths(name, overwrite: bool = False) -> tuple[Path, Path]:
    """NAME.in and NAME.data. InputError where one exists."""
    both = Path(f"{name}.in"), Path(f"{name}.data")
    for path in both:
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists: choose another name with --out, or use --overwrite")
    return both


def check_structure(atoms: Atoms, elements: list[int]) -> None:
    """Raise InputError for a structure that LAMMPS cannot take, or a model that knows these elements cannot."""
    StructureCheck(elements)(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    _fixed(box(atoms).atoms)


def check_model(model) -> None:
    """Raise InputError for a model file that only torch evaluates."""
    from equitensor.interfaces.backend import backend_of

    backend, why = backend_of(model, device="cpu")
    if backend != "core":
        raise InputError(f"LAMMPS needs the compiled evaluator, which is not to be had for {model}: {why}")


def _complete(atoms: Atoms, margin: float) -> None:
    """Give directions that are not periodic vectors at right angles to the others, around the atoms."""
    if atoms.pbc.all():
        return
    cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    free = np.flatnonzero(~atoms.pbc)
    normals = np.linalg.svd(cell)[2][3 - len(free) :]  # at right angles to the periodic vectors
    heights = atoms.positions @ normals.T
    low = heights.min(0) - margin
    cell[free] = normals * (heights.max(0) + margin - low)[:, None]
    if np.linalg.det(cell) < 0:  # keep the handedness, or the prism would mirror the structure
        cell[free[0]] *= -1
        low[0] = -(heights.max(0)[0] + margin)
        normals[0] *= -1
    atoms.positions -= low @ normals
    atoms.cell[:] = cell


def _fixed(atoms: Atoms) -> np.ndarray:
    """The indices of fixed atoms, rising. InputError for constraints that leave atoms something."""
    constraints = simplified(atoms)
    other = [constraint for constraint in constraints if not isinstance(constraint, FixAtoms)]
    if other:
        raise InputError(
            f"no LAMMPS input is written for constraints other than fixed atoms ({names(other)}): remove them"
        )
    return np.unique([index for constraint in constraints for index in constraint.index]).astype(int)


def _ranges(numbers: np.ndarray) -> str:
    """Rising numbers as LAMMPS writes them: 1:4 7."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return " ".join(f"{run[0]}:{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _quoted(path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)
