"""Are forces in eV/Angstrom? Bonds of hydrogen to B, C, N, O have force constants of 20 to 60 eV/Angstrom^2 everywhere.

With the forces on the two atoms projected on the bond, f = (F_j - F_i) . r / (2 |r|), the regression of f on the length
of the bond over the frames of a system gives -k, whatever the method: the median over the bonds lies between 20 and 40
in molecules, at surfaces, hot and cold.
"""

import numpy as np

from equitensor.data.near_frames import nearest_image, systems
from equitensor.graph import neighbor_list, units
from equitensor.graph.labels import FORCES

_PARTNERS = (5, 6, 7, 8)
_LONGEST = 1.4  # Angstrom
_FEWEST_FRAMES = 8
_LEAST_SPREAD = 1e-3  # Angstrom: shorter stretches are hidden by convergence errors of the forces
_USUAL = (5.0, 180.0)  # eV/Angstrom^2; 32 is typical, and no other unit is nearer than a factor of 12 to eV/Angstrom
_TYPICAL = 32.0
_ERRORS = 4.0  # standard errors that a constant must exceed, or its sign and unit are chance
_MEDIAN_ERROR = 1.2533  # of a median, in standard deviations over sqrt(n)
_UNITS = ("kcal/mol/Angstrom", "kJ/mol/Angstrom", "Hartree/Bohr", "Hartree/Angstrom", "meV/Angstrom", "eV/nm")


def hydrogen_force_constant(frames) -> tuple[float, float] | None:
    """Median force constant of the bonds of hydrogen and its standard error in eV/Angstrom^2, or None where there are
    none to look at.

    The error is that of the spread over the bonds, or of the regressions where that is larger.
    """
    of_systems = [_force_constants(members) for members in systems(frames, (FORCES,)) if len(members) >= _FEWEST_FRAMES]
    constants, errors = np.concatenate([*of_systems, np.zeros((2, 0))], axis=1)
    if len(constants) == 0:
        return None
    middle = float(np.median(constants))
    spread = max(1.4826 * np.median(np.abs(constants - middle)), np.median(errors))
    return middle, float(_MEDIAN_ERROR * spread / np.sqrt(len(constants)))


def stretching_warning(frames) -> str | None:
    """A sentence where stretched bonds pull far too weakly or strongly, or push apart; None otherwise."""
    fitted = hydrogen_force_constant(frames)
    if fitted is None or _USUAL[0] < fitted[0] < _USUAL[1]:
        return None
    constant, error = fitted
    start = (
        f"forces look wrong: they give bonds of hydrogen a force constant of {constant:.3g} +- {error:.2g} "
        "eV/Angstrom^2"
    )
    noise = (
        f"{start}; 20 to 60 is usual, and no unit alone makes that of it. Are they the forces of these positions, atom "
        "by atom?"
    )
    if abs(constant) <= _ERRORS * error:  # both are zero where forces never change
        return noise
    sign = "" if constant > 0 else "-"
    if sign and _USUAL[0] < -constant < _USUAL[1]:
        return (
            f"{start}, stretched ones push apart. If the file holds gradients, say forces_unit: -eV/Angstrom "
            "(with a minus)"
        )
    best = min(_UNITS, key=lambda unit: abs(np.log(abs(constant) * units.forces_factor(unit) / _TYPICAL)))
    if not _USUAL[0] < abs(constant) * units.forces_factor(best) < _USUAL[1]:
        return noise
    return f"{start}; 20 to 60 is usual. Name their unit with forces_unit: {sign}{best} would fit"


def _force_constants(members) -> np.ndarray:
    """(2, bonds): force constant and standard error of each bond that lasts over all the frames of a system."""
    sender, receiver = _bonds(members[0])
    lengths, pulls = [], []
    for s in members:
        vectors = nearest_image(s.pos[receiver] - s.pos[sender], s)
        lengths.append(np.linalg.norm(vectors, axis=1))
        pulls.append(0.5 * np.sum((s.forces[receiver] - s.forces[sender]) * vectors, axis=1) / lengths[-1])
    all_lengths, all_pulls = np.array(lengths), np.array(pulls)
    lasting = (all_lengths.max(axis=0) < 1.2 * _LONGEST) & (all_lengths.std(axis=0) > _LEAST_SPREAD)
    stretch, pull = (values[:, lasting] - values[:, lasting].mean(axis=0) for values in (all_lengths, all_pulls))
    squares = np.sum(stretch**2, axis=0)
    constants = -np.sum(stretch * pull, axis=0) / squares
    rest = np.sum((pull + constants * stretch) ** 2, axis=0) / (len(members) - 2)
    return np.stack([constants, np.sqrt(rest / squares)])


def _bonds(structure):
    """Sender (hydrogen) and receiver of each bond."""
    (sender, receiver), _, _ = neighbor_list(structure.pos, structure.cell, structure.pbc, _LONGEST)
    chosen = (structure.z[sender] == 1) & np.isin(structure.z[receiver], _PARTNERS)
    return sender[chosen], receiver[chosen]
