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
_UNITS = ("kcal/mol/Angstrom", "kJ/mol/Angstrom", "Hartree/Bohr", "Hartree/Angstrom", "meV/Angstrom", "eV/nm")


def hydrogen_force_constant(frames) -> float | None:
    """Median force constant in eV/Angstrom^2 of the bonds of hydrogen, or None where there are none to look at."""
    found = [_force_constants(members) for members in systems(frames, (FORCES,)) if len(members) >= _FEWEST_FRAMES]
    found = np.concatenate([*found, np.zeros(0)])
    return float(np.median(found)) if len(found) else None


def stretching_warning(frames) -> str | None:
    """A sentence where stretched bonds pull far too weakly or strongly, or push apart; None otherwise."""
    constant = hydrogen_force_constant(frames)
    if constant is None or _USUAL[0] < constant < _USUAL[1]:
        return None
    start = f"forces look wrong: by them bonds of hydrogen have a force constant of {constant:.3g} eV/Angstrom^2"
    sign = "" if constant > 0 else "-"
    if sign and _USUAL[0] < -constant < _USUAL[1]:
        return (
            f"{start}, stretched ones push apart. If the file holds gradients, say forces_unit: -eV/Angstrom "
            "(with a minus)"
        )
    best = min(_UNITS, key=lambda unit: abs(np.log(abs(constant) * units.forces_factor(unit) / _TYPICAL)))
    return f"{start}; 20 to 60 is usual. Name their unit with forces_unit: {sign}{best} would fit"


def _force_constants(members) -> np.ndarray:
    """One value per bond that lasts over all the frames of a system."""
    sender, receiver = _bonds(members[0])
    lengths, pulls = [], []
    for s in members:
        vectors = nearest_image(s.pos[receiver] - s.pos[sender], s)
        lengths.append(np.linalg.norm(vectors, axis=1))
        pulls.append(0.5 * np.sum((s.forces[receiver] - s.forces[sender]) * vectors, axis=1) / lengths[-1])
    lengths, pulls = np.array(lengths), np.array(pulls)
    lasting = (lengths.max(axis=0) < 1.2 * _LONGEST) & (lengths.std(axis=0) > _LEAST_SPREAD)
    lengths, pulls = (values[:, lasting] - values[:, lasting].mean(axis=0) for values in (lengths, pulls))
    return -np.sum(lengths * pulls, axis=0) / np.sum(lengths**2, axis=0)


def _bonds(structure):
    """Sender (hydrogen) and receiver of each bond."""
    (sender, receiver), _, _ = neighbor_list(structure.pos, structure.cell, structure.pbc, _LONGEST)
    chosen = (structure.z[sender] == 1) & np.isin(structure.z[receiver], _PARTNERS)
    return sender[chosen], receiver[chosen]
