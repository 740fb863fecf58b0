"""Geometries to label: conformers, hot ones by MMFF dynamics, squeezed ones, stretched bonds, molecules side by side.

The dynamics only make geometries; their energies are not kept. Angstrom throughout.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms

HOT = (300, 1000)  # K, between which each frame has a temperature of its own
DYNAMICS = (120, 0.5, 0.02)  # steps before each frame, femtoseconds, friction in 1/fs
BONDS_TO_H = {7: 1.02, 8: 0.97, 16: 1.35}  # Angstrom, by atomic number
REACH = 2.8  # Angstrom, from a hydrogen to the atom that it goes to
CROWDED, SHORT = 1.0, 0.85  # Angstrom, which a hydrogen on its way keeps from others, and from the atom that it leaves
CLOSE, FAR = 0.75, 1.4  # of the sum of van der Waals radii, between which molecules begin side by side
_BOLTZMANN = 0.0019872  # kcal/mol/K
_ACCELERATION = 4.184e-4  # kcal/mol/Angstrom/u in Angstrom/fs^2
_RADII = Chem.GetPeriodicTable()


def conformers(smiles: str, count: int, seed: int) -> Chem.Mol | None:
    """The molecule with hydrogens and up to `count` conformers by ETKDG, in places on both sides of each bond."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    options = AllChem.ETKDGv3()
    options.randomSeed = seed
    options.pruneRmsThresh = 0.3
    options.maxIterations = 30
    return mol if len(AllChem.EmbedMultipleConfs(mol, count, options)) else None


def first_conformers(rows: Iterable[dict], seed: int = 0) -> Iterator[tuple[dict, Chem.Mol]]:
    """Rows of a list of molecules, each with the molecule and one conformer; those without one are passed over."""
    for row in rows:
        mol = conformers(row["smiles"], 1, seed)
        if mol is not None:
            yield row, mol


def minimized(mol: Chem.Mol) -> np.ndarray | None:
    """Positions of the first conformer after at most 2000 steps of `force_field`; None where there is none."""
    field = force_field(mol)
    if field is None:
        return None
    field.Initialize()
    field.Minimize(maxIts=2000)
    return np.reshape(field.Positions(), (-1, 3))


def turned(mol: Chem.Mol, dihedral: list[int], degrees: float) -> np.ndarray:
    """Positions with this dihedral (four atoms), all else relaxed by MMFF94."""
    copy = Chem.Mol(mol)
    rdMolTransforms.SetDihedralDeg(copy.GetConformer(0), *dihedral, degrees)
    field = force_field(copy)
    field.Initialize()
    field.MMFFAddTorsionConstraint(*dihedral, False, degrees, degrees, 1e4)
    field.Minimize(maxIts=2000)
    return np.reshape(field.Positions(), (-1, 3))


def force_field(mol: Chem.Mol, conformer: int = 0):
    """MMFF, or UFF for what it does not know, over all pairs of fragments; None where neither knows it."""
    properties = AllChem.MMFFGetMoleculeProperties(mol)
    if properties is not None:
        return AllChem.MMFFGetMoleculeForceField(mol, properties, 100.0, conformer, ignoreInterfragInteractions=False)
    if AllChem.UFFHasAllMoleculeParams(mol):
        return AllChem.UFFGetMoleculeForceField(mol, 10.0, conformer, ignoreInterfragInteractions=False)
    return None


def hot(mol: Chem.Mol, conformer: int, count: int, rng) -> list[np.ndarray]:
    """Frames of Langevin dynamics, each after a while at a temperature of its own; fewer where it flies apart."""
    field = force_field(mol, conformer)
    if field is None:
        return []
    masses = np.array([atom.GetMass() for atom in mol.GetAtoms()])[:, None]
    x = mol.GetConformer(conformer).GetPositions()
    start, frames = x, []
    for _ in range(count):
        kelvin = rng.uniform(*HOT)
        v = rng.normal(size=x.shape) * np.sqrt(_BOLTZMANN * kelvin * _ACCELERATION / masses)
        x = _langevin(field, x, v, masses, kelvin, rng)
        if not np.isfinite(x).all() or np.linalg.norm(x - x.mean(0), axis=1).max() > 40:
            return frames
        frames.append(x)
        if rng.random() < 0.2:
            x = start  # so that one that has left its minimum does not fill the rest
    return frames


def _langevin(field, x, v, masses, kelvin, rng):
    """BAOAB (Leimkuhler and Matthews 2013)."""
    steps, dt, friction = DYNAMICS
    keep = np.exp(-friction * dt)
    kick = np.sqrt((1 - keep**2) * _BOLTZMANN * kelvin * _ACCELERATION / masses)
    acceleration = _acceleration(field, x, masses)
    for _ in range(steps):
        v = v + dt / 2 * acceleration
        x = x + dt / 2 * v
        v = keep * v + kick * rng.normal(size=x.shape)
        x = x + dt / 2 * v
        acceleration = _acceleration(field, x, masses)
        v = v + dt / 2 * acceleration
    return x


def _acceleration(field, x, masses):
    field.CalcEnergy(x.ravel().tolist())  # distances, which CalcGrad takes as they were in the call before
    return -_ACCELERATION * np.reshape(field.CalcGrad(x.ravel().tolist()), x.shape) / masses


def squeezed(x: np.ndarray, rng) -> np.ndarray:
    """All distances shorter by up to an eighth, with atoms off by 0.03 Angstrom."""
    return x * rng.uniform(0.88, 0.98) + rng.normal(size=x.shape) * 0.03


def stretched(mol: Chem.Mol, x: np.ndarray, rng) -> np.ndarray | None:
    """A single bond outside rings 0.2 to 1.6 Angstrom longer, both sides as they were; None without such a bond."""
    bonds = [bond for bond in mol.GetBonds() if not bond.IsInRing() and bond.GetBondType() == Chem.BondType.SINGLE]
    if not bonds:
        return None
    bond = bonds[rng.integers(len(bonds))]
    begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    side, todo = {begin, end}, [end]
    while todo:
        near = [atom.GetIdx() for atom in mol.GetAtomWithIdx(todo.pop()).GetNeighbors()]
        todo += [index for index in near if index not in side]
        side.update(near)
    side.discard(begin)
    moved, axis = x.copy(), x[end] - x[begin]
    moved[sorted(side)] += axis / np.linalg.norm(axis) * rng.uniform(0.2, 1.6)
    return moved


def transferred(mol: Chem.Mol, x: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray] | None:
    """A hydrogen of N, O or S on its way to another of these nearby, and arrived there.

    The two are not bonded to each other, and the way keeps off other atoms; None where there is no such way.
    """
    polar = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() in BONDS_TO_H]
    donors = {h.GetIdx(): i for i in polar for h in mol.GetAtomWithIdx(i).GetNeighbors() if h.GetAtomicNum() == 1}
    ways = []
    for h, donor in donors.items():
        for other in polar:
            away = x[h] - x[other]
            if other == donor or np.linalg.norm(away) > REACH or mol.GetBondBetweenAtoms(donor, other) is not None:
                continue
            there = x[other] + away * BONDS_TO_H[mol.GetAtomWithIdx(other).GetAtomicNum()] / np.linalg.norm(away)
            passed = np.delete(x, [h, donor, other], axis=0)
            if _nearest(passed, x[h], there) > CROWDED and _nearest(x[[donor]], x[h], there) > SHORT:
                ways.append((h, there))
    if not ways:
        return None
    h, there = ways[rng.integers(len(ways))]
    between, arrived = x.copy(), x.copy()
    between[h] += rng.uniform(0.2, 1.0) * (there - x[h])
    arrived[h] = there
    return between, arrived


def _nearest(points: np.ndarray, begin: np.ndarray, end: np.ndarray) -> float:
    """The distance of the nearest point from the line between two places; infinite without points."""
    way = end - begin
    share = np.clip((points - begin) @ way / (way @ way), 0.0, 1.0)
    return np.linalg.norm(points - begin - share[:, None] * way, axis=1).min(initial=np.inf)


def side_by_side(parts: list[Chem.Mol], rng) -> Chem.Mol:
    """One molecule of several, each turned at random and brought up to those before it from a random side."""
    joint, placed = parts[0], parts[0].GetConformer(0).GetPositions()
    for part in parts[1:]:
        x = part.GetConformer(0).GetPositions()
        x = (x - x.mean(0)) @ _rotation(rng).T + placed.mean(0)
        side = rng.normal(size=3)
        side /= np.linalg.norm(side)
        sums = _van_der_waals(joint)[:, None] + _van_der_waals(part)[None]
        nearest = rng.uniform(CLOSE, FAR) if rng.random() < 0.3 else rng.uniform(0.85, 1.1)
        while (np.linalg.norm(placed[:, None] - x[None], axis=2) / sums).min() < nearest:
            x = x + 0.1 * side
        joint = Chem.CombineMols(joint, part)
        placed = np.vstack([placed, x])
    joint = Chem.Mol(joint)
    Chem.SanitizeMol(joint)
    joint.RemoveAllConformers()
    conformer = Chem.Conformer(len(placed))
    conformer.SetPositions(placed)
    joint.AddConformer(conformer)
    return joint


def _van_der_waals(mol: Chem.Mol) -> np.ndarray:
    return np.array([_RADII.GetRvdw(atom.GetAtomicNum()) for atom in mol.GetAtoms()])


def _rotation(rng) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q
