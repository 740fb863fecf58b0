"""Do stress and energies agree in unit and sign? dE = V stress : strain - F . dx between cells of one system."""

from itertools import combinations

import numpy as np

from equitensor.data.near_frames import FEWEST, systems
from equitensor.graph.labels import ENERGY, STRESS

_FACTOR = 20.0  # between the bias of the estimate where atoms move far, and GPa (160) or kbar against eV/Angstrom^3
_ERRORS = 4.0  # standard errors that a deviation must exceed
_LEAST_STRAIN, _LARGEST_STRAIN = 1e-4, 0.1
_LEAST_FORCE = 0.05  # eV/Angstrom, rms: below, symmetry or relaxation has removed the forces but not the stress
_BOND = 2.5  # Angstrom
_SCALE = (1e-3, 10.0)  # of |stress| V / n over rms force times bond; 0.01 to 3 on crystals and liquids
_LARGEST_VIRIAL = 5.0  # eV per atom; an ambient crystal has 0.1, iron at 300 GPa 13
_HINT = "Name the unit with stress_unit (kbar = 1/1602 eV/Angstrom^3, GPa = 1/160; -kbar where compression is positive)"


def stress_warning(frames) -> str | None:
    """A sentence where stress disagrees with the energies or, without two cells of one system, with the forces.

    With cells of one system that differ, sign and size are seen. Else the size alone is, and only by two to
    three magnitudes: virial per atom |stress| V / n against rms force times a bond length.
    """
    members = systems(frames, (ENERGY, STRESS))
    pairs = [pair for each in members for a, b in combinations(each, 2) if (pair := _strained_pair(a, b)) is not None]
    if len(pairs) < FEWEST:
        return _by_scale(frames)
    nearest = np.array(sorted(pairs)[: max(FEWEST, len(pairs) // 2)])
    number = sum(len(each) for each in members if len(each) > 1)
    warning = _by_work(change=nearest[:, 1], work=nearest[:, 2], frames=number)
    return _by_scale(frames) if warning is None else warning or None


def _by_work(change, work, frames) -> str | None:
    """`change` of the energy less the work of the forces, regressed on the `work` of the stress: 1 where right.

    A sentence where it is wrong, "" where it is right, None where the errors are too large to tell.
    """
    square = np.sum(work**2)
    if square == 0:
        return None
    factor = np.sum(change * work) / square
    spread = np.mean((change - factor * work) ** 2) * len(work) / min(frames, len(work))  # pairs share frames
    error = _ERRORS * np.sqrt(spread / square)
    explained = factor**2 * square / np.sum(change**2)
    if abs(factor) + error < 1 / _FACTOR or abs(factor) - error > _FACTOR:
        kind = "stress has another unit than energies"
    elif factor + error < 0 and explained > 0.5:
        kind = "stress has the wrong sign"
    else:
        return "" if abs(factor - 1) + error < 1 else None
    return (
        f"{kind}: between frames of one system in different cells the energies change {factor:.3g} times as much as "
        f"the work of the stress. {_HINT}"
    )


def _strained_pair(a, b):
    """(strain, change of the energy less the work of the forces, work of the stress), or None for frames of one cell.

    The atoms move with the cell and, by u, against it: dE = V stress : strain - F . u, stress and forces the means
    of both frames.
    """
    if not (a.pbc.all() and b.pbc.all()):
        return None
    cell = 0.5 * (a.cell + b.cell)
    gradient = np.linalg.solve(cell, b.cell - a.cell)
    size = np.linalg.norm(gradient)
    if not _LEAST_STRAIN < size < _LARGEST_STRAIN:
        return None
    fractional = b.pos @ np.linalg.inv(b.cell) - a.pos @ np.linalg.inv(a.cell)
    u = (fractional - np.round(fractional)) @ cell
    u -= u.mean(axis=0)
    none = np.zeros_like(u)
    forces = sum((none if s.forces is None else s.forces) for s in (a, b))
    stress = sum(abs(np.linalg.det(s.cell)) * s.stress for s in (a, b))
    change = b.energy - a.energy + 0.5 * np.sum(forces * u)
    return size + np.abs(u).max(), change, 0.5 * np.sum(stress * gradient)


def _by_scale(frames) -> str | None:
    """The median over frames that feel a force."""
    ratios, virials = [], []
    for s in frames:
        if s.stress is None or s.forces is None:
            continue
        force = np.sqrt(np.mean(s.forces**2))
        if force > _LEAST_FORCE:
            virials.append(np.abs(s.stress).max() * abs(np.linalg.det(s.cell)) / len(s))
            ratios.append(virials[-1] / (force * _BOND))
    if len(ratios) < FEWEST:
        return None
    ratio, virial = np.median(ratios), np.median(virials)
    if _SCALE[0] < ratio and not (ratio > _SCALE[1] and virial > _LARGEST_VIRIAL):
        return None
    return (
        f"stress is probably in another unit: times the volume it is {virial:.3g} eV per atom, {ratio:.3g} times the "
        f"forces times a bond length; 0.1 to 1 is usual. {_HINT}"
    )
