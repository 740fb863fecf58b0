"""ASE's constraints in dynamics: what they leave free, counted as ASE does, and which ones its integrators break."""

from contextlib import contextmanager
from typing import Any

import numpy as np
from ase.constraints import FixAtoms, FixCartesian, FixCom, FixedLine, FixedPlane, FixScaled, FixSymmetry, Hookean

from equitensor.errors import InputError
from equitensor.graph.constraints import held_directions, held_space

# They project momenta without regard to masses, take more degrees of freedom than they count, move other atoms, or are
# forces that ASE adds to the momenta at every step.
_RELAXATION_ONLY = {
    "ExternalForce",
    "FixCartesianParametricRelations",
    "FixInternals",
    "FixLinearTriatomic",
    "FixScaledParametricRelations",
    "FixSubsetCom",
    "FixSymmetry",
    "FixedMode",
    "MirrorForce",
    "MirrorTorque",
}


class HeldCentre(FixCom):
    """The centre of mass held by a thermostat while it runs; no constraint of the structure."""


def names(constraints) -> str:
    """The kinds of constraints, for a message."""
    return ", ".join(sorted({type(constraint).__name__ for constraint in constraints}))


def simplified(atoms) -> list:
    """Constraints that hold the same while the cell stays: FixAtoms, FixCartesian, FixedPlane, FixedLine, others.

    Those on single atoms are joined, so that no two of them act on one atom. ASE's FixScaled, which projects momenta
    as if they were forces and lets atoms drift in cells that are not orthogonal, becomes the plane or line it stands
    for; planes and lines along the axes become FixCartesian, which extended xyz can hold.
    """
    count, frame = held_space(atoms)
    joined: list[Any] = [FixAtoms(np.flatnonzero(count == 3))] if (count == 3).any() else []
    for held, kind, row in ((1, FixedPlane, 2), (2, FixedLine, 0)):
        index = np.flatnonzero(count == held)
        for direction, members in _grouped(frame[index, row], index):
            parallel = np.abs(direction) > 1 - 1e-12
            mask = parallel if held == 1 else ~parallel
            joined.append(FixCartesian(members, mask) if parallel.any() else kind(members, direction))
    return joined + [c for c in atoms.constraints if held_directions(c, atoms.cell) is None]


def _grouped(directions, index):
    """(direction, the atoms that share it) for each direction, whatever its sign."""
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    directions = directions * np.sign(largest)
    _, first, group = np.unique(directions.round(9) + 0.0, axis=0, return_index=True, return_inverse=True)
    return [(directions[f], index[group.ravel() == g]) for g, f in enumerate(first)]


@contextmanager
def exact_constraints(atoms, *further):
    """Meanwhile the atoms have their constraints simplified, and further ones; afterwards they have their own again."""
    own = list(atoms.constraints)
    atoms.set_constraint([*simplified(atoms), *further])
    try:
        yield
    finally:
        atoms.set_constraint(own)


def check_dynamics(atoms, ensemble: str) -> None:
    """Raise InputError for constraints that dynamics in this ensemble cannot hold."""
    constraints = simplified(atoms)
    if ensemble == "npt" and constraints:
        raise InputError(
            f"npt moves all atoms with the cell, but {names(constraints)} would keep some fixed: use nvt, or free them"
        )
    refused = [c for c in constraints if type(c).__name__ in _RELAXATION_ONLY]
    if refused:
        raise InputError(
            f"molecular dynamics cannot hold {names(refused)}, which ASE has for relaxations: hold atoms with "
            "FixAtoms, FixCartesian, FixScaled, FixedPlane or FixedLine, bonds with FixBondLengths"
        )
    with exact_constraints(atoms):
        if constraints and not _is_projection(atoms):
            raise InputError(
                f"molecular dynamics cannot hold {names(constraints)} together: they act on the same atoms, ASE "
                "applies one after the other, and the last breaks the first; let each hold other atoms"
            )
    if constraints and degrees_of_freedom(atoms, ensemble) <= 0:
        raise InputError(f"{names(constraints)} leave nothing that could move at a temperature: free some atoms")


def hold_the_same(one, other) -> bool:
    """Whether two structures are held alike: each atom in the same directions, the rest by the same kinds."""
    (count, frame), (others_count, others_frame) = held_space(one), held_space(other)
    if not np.array_equal(count, others_count):
        return False
    held = np.arange(3) >= 3 - count[:, None]
    spaces = [np.einsum("nk,nka,nkb->nab", held, f, f) for f in (frame, others_frame)]
    rest = [names(c for c in a.constraints if held_directions(c, a.cell) is None) for a in (one, other)]
    return bool(np.allclose(spaces[0], spaces[1], atol=1e-6)) and rest[0] == rest[1]


def check_cell_relaxation(atoms) -> None:
    """Raise InputError for constraints in the Cartesian frame, or on lengths: a changing cell would break them."""
    broken = [c for c in atoms.constraints if not _follows_the_cell(c)]
    if broken:
        raise InputError(
            f"{names(broken)} would not hold while the cell changes: leave --cell out, or hold scaled coordinates "
            "(FixScaled, FixAtoms)"
        )


def _follows_the_cell(constraint) -> bool:
    if isinstance(constraint, FixCartesian):
        return bool(constraint.mask.all()) or not constraint.mask.any()
    return isinstance(constraint, FixAtoms | FixCom | FixScaled | FixSymmetry)


def degrees_of_freedom(atoms, ensemble: str) -> int:
    """How many degrees of freedom move: what the kinetic energy is divided by to give the temperature.

    3 n less those that constraints take, each counted once; for constraints that do not overlap ASE's
    `atoms.get_number_of_degrees_of_freedom()`. Where constraints let the structure move as a whole (none do, or those
    on bonds), nve keeps the total momentum and, without periodicity, the angular momentum; nvt holds the centre of
    mass: these are taken off too. npt keeps neither. Raises InputError for a constraint that
    does not say what it takes.
    """
    free = 3 * len(atoms) - int(held_space(atoms)[0].sum())
    for constraint in simplified(atoms):
        if held_directions(constraint, atoms.cell) is None:
            free -= _removed(constraint, atoms)
    if ensemble != "npt" and moves_as_a_whole(atoms):
        free -= 3
    if ensemble == "nve" and turns_as_a_whole(atoms):
        free -= int(np.linalg.matrix_rank(inertia(atoms), tol=1e-6))
    return free


def moves_as_a_whole(atoms) -> bool:
    """Whether constraints leave the motion of the centre of mass alone."""
    return _pass(atoms, [np.broadcast_to(axis, (len(atoms), 3)) for axis in np.eye(3)])


def turns_as_a_whole(atoms) -> bool:
    """Whether neither constraints nor periodicity hinder the structure to turn about its centre of mass."""
    arms = atoms.positions - atoms.get_center_of_mass()
    return not atoms.pbc.any() and _pass(atoms, [np.cross(axis, arms) for axis in np.eye(3)])


def inertia(atoms) -> np.ndarray:
    """The tensor of inertia, sum m (r^2 1 - r r^T) about the centre of mass, atomic mass unit Angstrom^2."""
    arms, masses = atoms.positions - atoms.get_center_of_mass(), atoms.get_masses()
    outer = np.einsum("i,ia,ib->ab", masses, arms, arms)
    return np.trace(outer) * np.eye(3) - outer


def _removed(constraint, atoms) -> int:
    try:
        return int(constraint.get_removed_dof(atoms))
    except NotImplementedError:
        raise InputError(
            f"{names([constraint])} does not say how many degrees of freedom it takes: there is no temperature with it"
        ) from None


def _pass(atoms, velocities) -> bool:
    """Whether all constraints let these velocities pass as they are."""
    if any(isinstance(c, Hookean) and not hasattr(c, "indices") for c in atoms.constraints):
        return False  # a spring to a place or a plane
    masses = atoms.get_masses()[:, None]
    with exact_constraints(atoms):
        return all(np.allclose(_projected(atoms, masses * v), masses * v, atol=1e-9) for v in velocities)


def _projected(atoms, momenta) -> np.ndarray:
    momenta = np.array(momenta, dtype=float)
    for constraint in atoms.constraints:
        constraint.adjust_momenta(atoms, momenta)
    return momenta


def _is_projection(atoms) -> bool:
    """Whether all constraints in turn take momenta to allowed ones, and off them nothing but what is not allowed.

    That is: P P = P, and <q, P p> = <P q, p> in the scalar product of the kinetic energy.
    """
    masses = atoms.get_masses()[:, None]
    p, q = np.random.default_rng(0).standard_normal((2, len(atoms), 3)) * np.sqrt(masses)
    allowed_p, allowed_q = _projected(atoms, p), _projected(atoms, q)
    scale = (p * p / masses).sum() + (q * q / masses).sum()
    symmetric = abs((q * allowed_p / masses).sum() - (allowed_q * p / masses).sum()) < 1e-8 * scale
    twice = _projected(atoms, allowed_p) - allowed_p
    return bool(symmetric and (twice * twice / masses).sum() < 1e-16 * scale)
