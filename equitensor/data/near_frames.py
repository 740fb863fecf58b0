"""Frames of one system beside each other: what forces and stress do between them shows in the energies."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from equitensor.data.sequence import Snapshots
from equitensor.graph import Structure
from equitensor.graph.labels import ENERGY, FORCES

FEWEST = 10  # pairs or frames below which nothing is said
_FRAMES, _SYSTEMS, _PER_SYSTEM = 600, 10, 40
_NEAR, _APART = 0.1, 1.0  # Angstrom: where work predicts energies well, and where it no longer does at all
_MANY = 80  # pairs between the two that are needed: 38 of 20 frames are off by a factor of 6 once in 50 samples
_VACUUM = 5.0  # Angstrom between a molecule and its images


@dataclass(frozen=True)
class Pair:
    """Two frames of one system in one cell: rms displacement (Angstrom), energy difference and the work that the
    mean of the forces predicts for it (eV), displacement . change of the forces (eV)."""

    distance: float
    energy: float
    work: float
    stiffness: float


def sampled_frames(snapshots: Snapshots, indices=None) -> list[Structure]:
    """At most 600 labelled frames of a data set: all, or evenly spaced runs of ten (neighbours are often near)."""
    indices = np.arange(len(snapshots)) if indices is None else np.asarray(indices)
    index = snapshots.index
    labelled = index.has_any & ~index.isolated
    indices, n = indices[labelled[indices]], int(labelled[indices].sum())
    if n > _FRAMES:
        starts = np.linspace(0, n - 10, _FRAMES // 10).astype(int)
        indices = indices[np.unique(starts[:, None] + np.arange(10))]
    return [snapshots[int(i)] for i in indices]


def systems(frames, labels, same_cell: bool = False) -> list[list[Structure]]:
    """Frames that have all the `labels`, those of one trajectory with the same atoms in the same order (and the same
    cell) together: the ten largest such lists, of at most 40 frames."""
    by_composition: dict[tuple, list] = {}
    for s in frames:
        if not all(label.is_here(s) for label in labels):
            continue
        cell = np.round(s.cell, 3).tobytes() if same_cell and s.pbc.any() else b""
        members = by_composition.setdefault((s.group, s.z.tobytes(), s.pbc.tobytes(), cell), [])
        if len(members) < _PER_SYSTEM:
            members.append(s)
    return sorted(by_composition.values(), key=len, reverse=True)[:_SYSTEMS]


def near_pairs(frames) -> list[Pair]:
    """The nearest fifth of all pairs of frames in one cell, ten at least; none where they are too few or too far
    apart to tell anything."""
    together = systems(frames, (ENERGY, FORCES), same_cell=True)
    every = (_pair(a, b) for members in together for a, b in combinations(members, 2))
    pairs = sorted((pair for pair in every if pair is not None), key=lambda pair: pair.distance)
    pairs = [pair for pair in pairs[: max(FEWEST, len(pairs) // 5)] if pair.distance < _APART]
    if len(pairs) < FEWEST or (len(pairs) < _MANY and pairs[len(pairs) // 2].distance > _NEAR):
        return []
    return pairs


def _pair(a, b) -> Pair | None:
    """Molecules are superposed first (Kabsch)."""
    if a.pbc.any() and not _is_molecule_in_box(a):
        displacement, forces = nearest_image(b.pos - a.pos, a), b.forces
    else:
        rotation, displacement = _superpose(a.pos, b.pos)
        forces = b.forces @ rotation
    if not np.any(displacement):
        return None
    return Pair(
        distance=float(np.sqrt(np.mean(displacement**2))),
        energy=b.energy - a.energy,
        work=float(-0.5 * np.sum((a.forces + forces) * displacement)),
        stiffness=float(-np.sum((forces - a.forces) * displacement)),
    )


def _is_molecule_in_box(structure):
    extent = np.ptp(structure.pos, axis=0).max()
    return extent + _VACUUM < np.linalg.norm(structure.cell[structure.pbc], axis=1).min()


def _superpose(reference, moved):
    """(rotation, displacement) with (moved - centre) @ rotation = reference - centre + displacement."""
    reference, moved = reference - reference.mean(0), moved - moved.mean(0)
    u, _, vt = np.linalg.svd(moved.T @ reference)
    sign = np.sign(np.linalg.det(u @ vt))
    rotation = u @ np.diag([1.0, 1.0, sign]) @ vt
    return rotation, moved @ rotation - reference


def nearest_image(vectors, structure) -> np.ndarray:
    """(..., 3) vectors less whole lattice vectors, so that fractional coordinates lie between -1/2 and 1/2."""
    if not structure.pbc.any():
        return vectors
    cell = np.where(structure.pbc[:, None], structure.cell, 0.0)
    return vectors - np.round(vectors @ np.linalg.pinv(cell)) @ cell
