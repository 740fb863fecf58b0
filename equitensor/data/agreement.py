"""Do energies and forces share a unit? For two near frames dE = -(F_a + F_b)/2 . dx, up to third order."""

from itertools import combinations

import numpy as np

from equitensor.data.sequence import ENERGY, FORCES, Snapshots

_FRAMES, _BUCKETS, _PER_BUCKET = 600, 10, 40
_FEWEST_PAIRS = 10
_FACTOR = 6.0  # between the error of the estimate (below 3 on real data) and kcal/mol against eV (23)


def energy_force_ratio(snapshots: Snapshots, indices=None) -> float | None:
    """Median |dE| over median |work of the forces| between near frames of a system: 1 where the units agree.

    Pairs are taken among frames with the same atoms in the same order and the same cell; molecules are
    superposed first (Kabsch). None where there are too few such pairs to tell.
    """
    pairs = [_pair(a, b) for bucket in _buckets(snapshots, indices) for a, b in combinations(bucket, 2)]
    pairs = [pair for pair in pairs if pair is not None]
    if len(pairs) < _FEWEST_PAIRS:
        return None
    distance, energy, work = np.array(pairs).T
    near = np.argsort(distance, kind="stable")[: max(_FEWEST_PAIRS, len(pairs) // 5)]
    energy, work = np.median(np.abs(energy[near])), np.median(np.abs(work[near]))
    return float(energy / work) if energy > 0 and work > 0 else None


def unit_warning(snapshots: Snapshots, indices=None) -> str | None:
    """A sentence where energies and forces disagree in unit by a magnitude, or None."""
    ratio = energy_force_ratio(snapshots, indices)
    if ratio is None or 1 / _FACTOR < ratio < _FACTOR:
        return None
    return (
        f"{snapshots.name}: energies and forces disagree: between near frames the energies change "
        f"{ratio:.3g} times as much as the work of the forces. If their units differ (Hartree = 27.2 eV, "
        "eV = 23.1 kcal/mol, Hartree/Bohr = 51.4 eV/Angstrom), name them with energy_unit and forces_unit"
    )


def _buckets(snapshots, indices):
    """A sample of frames, those of one system together, at most a few hundred in all."""
    indices = np.arange(len(snapshots)) if indices is None else np.asarray(indices)
    has = snapshots.index.has(ENERGY) & snapshots.index.has(FORCES) & (snapshots.index.atoms > 1)
    indices = indices[has[indices]]
    buckets: dict[tuple, list] = {}
    for i in indices[_sample(len(indices))]:
        s = snapshots[i]
        key = (s.group, s.z.tobytes(), s.pbc.tobytes(), np.round(s.cell, 3).tobytes() if s.pbc.any() else b"")
        bucket = buckets.setdefault(key, [])
        if len(bucket) < _PER_BUCKET:
            bucket.append(s)
    return sorted(buckets.values(), key=len, reverse=True)[:_BUCKETS]


def _sample(n):
    """All of few, or evenly spaced runs of ten neighbours in the file (neighbours are often near frames)."""
    if n <= _FRAMES:
        return np.arange(n)
    starts = np.linspace(0, n - 10, _FRAMES // 10).astype(int)
    return np.unique(starts[:, None] + np.arange(10))


def _pair(a, b):
    """(rms displacement, energy difference, work of the mean force with its sign changed)."""
    if a.pbc.any() and not _is_molecule_in_box(a):
        displacement, forces = _periodic_displacement(a, b), b.forces
    else:
        rotation, displacement = _superpose(a.pos, b.pos)
        forces = b.forces @ rotation
    if not np.any(displacement):
        return None
    work = -0.5 * np.sum((a.forces + forces) * displacement)
    return np.sqrt(np.mean(displacement**2)), b.energy - a.energy, work


def _is_molecule_in_box(structure):
    extent = np.ptp(structure.pos, axis=0).max()
    return extent + 10.0 < np.linalg.norm(structure.cell[structure.pbc], axis=1).min()


def _superpose(reference, moved):
    """(rotation, displacement) with (moved - centre) @ rotation = reference - centre + displacement."""
    reference, moved = reference - reference.mean(0), moved - moved.mean(0)
    u, _, vt = np.linalg.svd(moved.T @ reference)
    sign = np.sign(np.linalg.det(u @ vt))
    rotation = u @ np.diag([1.0, 1.0, sign]) @ vt
    return rotation, moved @ rotation - reference


def _periodic_displacement(a, b):
    cell = np.where(a.pbc[:, None], a.cell, 0.0)
    fractional = (b.pos - a.pos) @ np.linalg.pinv(cell)
    return b.pos - a.pos - np.round(fractional) @ cell
