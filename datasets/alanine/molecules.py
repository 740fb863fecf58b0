"""Alanine and its relatives: molecules of ASE's G2 collection with groups in the place of hydrogens."""

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.neighborlist import natural_cutoffs

# Groups with their bond along +z: first atom at the origin, its own hydrogens behind it.
AMINO = Atoms("NH2", [[0, 0, 0], [0.94, 0, 0.36], [-0.47, 0.82, 0.36]])
METHYL = Atoms("CH3", [[0, 0, 0], [1.03, 0, 0.36], [-0.515, 0.892, 0.36], [-0.515, -0.892, 0.36]])
BOND_LENGTH = 1.48


def bonds(atoms, stretch=1.3):
    """Pairs (i, j), i < j, closer than `stretch` times the sum of their covalent radii."""
    radii = np.array(natural_cutoffs(atoms))
    close = atoms.get_all_distances() < stretch * (radii[:, None] + radii[None, :])
    return {(int(i), int(j)) for i, j in np.argwhere(np.triu(close, 1))}


def hydrogen_on(atoms, heavy):
    """Index of the first hydrogen bound to atom `heavy`."""
    partners = sorted({j for pair in bonds(atoms) if heavy in pair for j in pair} - {heavy})
    return next(j for j in partners if atoms.symbols[j] == "H")


def substitute(atoms, heavy, group):
    """Put `group` in the place of a hydrogen on atom `heavy`; the new atoms come last."""
    hydrogen = hydrogen_on(atoms, heavy)
    axis = atoms.positions[hydrogen] - atoms.positions[heavy]
    axis /= np.linalg.norm(axis)
    group = group.copy()
    group.rotate("z", axis)
    group.translate(atoms.positions[heavy] + BOND_LENGTH * axis)
    grown = atoms.copy()
    del grown[hydrogen]
    return grown + group


def carbons_of(atoms):
    """Indices of the carbon of the COOH group and of its carbon neighbour."""
    carbon = [i for i, symbol in enumerate(atoms.symbols) if symbol == "C"]
    acid = next(i for i in carbon if sum(i in p and atoms.symbols[sum(p) - i] == "O" for p in bonds(atoms)) == 2)
    alpha = next(i for i in carbon if (min(i, acid), max(i, acid)) in bonds(atoms))
    return acid, alpha


def grow():
    """Start structures by name, unrelaxed. Alanine is the L form; its mirror image has the same energy."""
    acetic = molecule("CH3COOH")
    _, alpha = carbons_of(acetic)
    propanoic = substitute(acetic, alpha, METHYL)
    glycine = substitute(acetic, alpha, AMINO)
    _, alpha_glycine = carbons_of(glycine)
    return {
        "alanine": substitute(glycine, alpha_glycine, METHYL),
        "glycine": glycine,
        "acetic_acid": acetic,
        "propanoic_acid": propanoic,
        "ethylamine": molecule("CH3CH2NH2"),
        "beta_alanine": substitute(propanoic, len(propanoic) - len(METHYL), AMINO),
    }
