"""Do energies and forces share a unit and a sign? For two near frames dE = -(F_a + F_b)/2 . dx, up to third order."""

import numpy as np

from equitensor.data.near_frames import FEWEST, Pair, near_pairs, sampled_frames
from equitensor.data.sequence import Snapshots

_FACTOR = 6.0  # between the error of the estimate (below 3 on real data) and kcal/mol against eV (23)
_NEARLY_ALL = 0.95  # of the pairs; with labels that are right at most 0.4 look wrong, and that between far frames


def energy_force_ratio(snapshots: Snapshots, indices=None) -> float | None:
    """Median |dE| over median |work of the forces| between near frames of a system: 1 where the units agree.

    Pairs are taken among frames with the same atoms in the same order and the same cell; molecules are
    superposed first (Kabsch). None where there are too few such pairs to tell.
    """
    return _ratio(near_pairs(sampled_frames(snapshots, indices)))


def _ratio(pairs: list[Pair]) -> float | None:
    if len(pairs) < FEWEST:
        return None
    energy, work = (np.median(np.abs(values)) for values in zip(*((p.energy, p.work) for p in pairs), strict=True))
    return float(energy / work) if energy > 0 and work > 0 else None


def unit_warning(pairs: list[Pair]) -> str | None:
    """A sentence where energies and forces disagree in unit by a magnitude, or None."""
    ratio = _ratio(pairs)
    if ratio is None or 1 / _FACTOR < ratio < _FACTOR:
        return None
    return (
        f"energies and forces disagree: between near frames the energies change {ratio:.3g} times as much as the work "
        "of the forces. If their units differ (Hartree = 27.2 eV, eV = 23.1 kcal/mol, Hartree/Bohr = 51.4 "
        "eV/Angstrom), name them with energy_unit and forces_unit"
    )


def uphill_warning(pairs: list[Pair]) -> str | None:
    """A sentence where forces grow along the displacements instead of against them, or None.

    About a minimum (x_b - x_a) . (F_b - F_a) < 0 for nearly every pair.
    """
    uphill = _share(pair.stiffness < 0 for pair in pairs)
    if len(pairs) < FEWEST or uphill < _NEARLY_ALL:
        return None
    return (
        f"forces point uphill: in {uphill:.0%} of the pairs of near frames they drive atoms away from their places in "
        "the other frame. If the file holds gradients, say forces_unit: -eV/Angstrom (with a minus)"
    )


def energy_sign_warning(pairs: list[Pair]) -> str | None:
    """A sentence where energies rise while forces do work that point to a minimum, or None."""
    rising = _share(pair.energy * pair.work < 0 for pair in pairs)
    if len(pairs) < FEWEST or rising < _NEARLY_ALL or _share(pair.stiffness > 0 for pair in pairs) < _NEARLY_ALL:
        return None
    return (
        f"energies have the wrong sign: in {rising:.0%} of the pairs of near frames they rise where the forces do "
        "work. If the file holds binding energies (positive where bound), say energy_unit: -eV (with a minus)"
    )


def _share(flags) -> float:
    return float(np.mean(list(flags) or [False]))
