"""Organic molecules out of a seed: grown atom by atom, assembled from fragments, as tautomers; by RDKit.

Every molecule is neutral, has closed shells, consists of H, C, N, O, F, S and Cl, and is named by its canonical SMILES.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from rdkit import Chem, RDLogger
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.Scaffolds import MurckoScaffold

RDLogger.DisableLog("rdApp.*")

FRAGMENTS = yaml.safe_load((Path(__file__).parent / "fragments.yaml").read_text())
# Bonds between these that no fragment contains are not made.
HETERO = frozenset((7, 8, 9, 16, 17))
GROWN = ((6, 10), (7, 4), (8, 4), (9, 1), (16, 1), (17, 1))  # atomic number, weight
UNWANTED = [Chem.MolFromSmarts(smarts) for smarts in FRAGMENTS["unwanted"]]
TAUTOMERS = rdMolStandardize.TautomerEnumerator()
TAUTOMERS.SetMaxTautomers(20)


@dataclass(frozen=True)
class Molecule:
    """A canonical SMILES, its number of atoms (with hydrogens) and what the split goes by."""

    smiles: str
    atoms: int
    scaffold: str


def molecules(seed: int, fewest: int = 2, most: int = 50) -> Iterator[Molecule]:
    """Endlessly, each once: a third grown, the others assembled, of `fewest` to `most` atoms."""
    rng = np.random.default_rng([seed, fewest, most])
    known = set()
    while True:
        molecule = _molecule(rng, most)
        if molecule is not None and fewest <= molecule.atoms <= most and molecule.smiles not in known:
            known.add(molecule.smiles)
            yield molecule


def _molecule(rng, most: int) -> Molecule | None:
    mol = _grown(rng, most) if rng.random() < 1 / 3 else _assembled(rng, most)
    if mol is not None and rng.random() < 0.15:
        mol = _tautomer(mol, rng)
    mol = None if mol is None else _sane(mol)
    return None if mol is None else described(mol)


def described(mol: Chem.Mol) -> Molecule:
    """Its record; molecules without rings are their own scaffold."""
    smiles = Chem.MolToSmiles(mol)
    scaffold = MurckoScaffold.MurckoScaffoldSmiles(mol=mol) or smiles
    return Molecule(smiles, Chem.AddHs(mol).GetNumAtoms(), scaffold)


def _sane(mol: Chem.Mol) -> Chem.Mol | None:
    """The molecule as its SMILES says it; None unless it is whole, neutral, closed-shell and free of odd bonds."""
    mol = Chem.MolFromSmiles(Chem.MolToSmiles(mol))
    if mol is None or Chem.GetFormalCharge(mol) or len(Chem.GetMolFrags(mol)) > 1:
        return None
    if any(atom.GetNumRadicalElectrons() or atom.GetIsotope() for atom in mol.GetAtoms()):
        return None
    return None if any(mol.HasSubstructMatch(pattern) for pattern in UNWANTED) else mol


def _tautomer(mol, rng):
    tautomers = list(TAUTOMERS.Enumerate(mol))
    return tautomers[rng.integers(len(tautomers))]


def _open(mol) -> list[int]:
    """Atoms with a hydrogen to replace."""
    return [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetTotalNumHs() > 0 and atom.GetFormalCharge() == 0]


def _joined(mol, addition, rng, at: int = 0):
    """`addition`, by its atom `at`, in the place of a hydrogen of `mol`; None where no bond of that kind is made."""
    places = _open(mol)
    if not places or at not in _open(addition):
        return None
    place = int(rng.choice(places))
    ends = (mol.GetAtomWithIdx(place).GetAtomicNum(), addition.GetAtomWithIdx(at).GetAtomicNum())
    if HETERO.issuperset(ends):
        return None
    joined = Chem.RWMol(Chem.CombineMols(mol, addition))
    joined.AddBond(place, mol.GetNumAtoms() + at, Chem.BondType.SINGLE)
    for index in (place, mol.GetNumAtoms() + at):
        atom = joined.GetAtomWithIdx(index)
        if atom.GetNumExplicitHs():  # as of the nitrogen of pyrrole
            atom.SetNumExplicitHs(atom.GetNumExplicitHs() - 1)
    return _whole(joined)


def _whole(mol):
    try:
        Chem.SanitizeMol(mol)
    except (Chem.AtomValenceException, Chem.KekulizeException, ValueError):
        return None
    return mol.GetMol()


def _assembled(rng, most: int) -> Chem.Mol | None:
    """Rings and chains over links, with groups on them: drug-like where there are several."""
    mol = Chem.MolFromSmiles(_skeleton(rng))
    target = rng.integers(min(10, most), most + 1)
    for _ in range(rng.integers(0, 9)):
        grown = _with_part(mol, rng)
        if grown is None or Chem.AddHs(grown).GetNumAtoms() > target:
            continue
        mol = grown
    return mol


def _skeleton(rng) -> str:
    """A ring or a chain; every fourth is benzene, as in drugs."""
    kind = rng.random()
    return "c1ccccc1" if kind < 0.25 else str(rng.choice(FRAGMENTS["rings" if kind < 0.75 else "chains"]))


def _with_part(mol, rng):
    if rng.random() < 0.65:
        return _joined(mol, Chem.MolFromSmiles(str(rng.choice(FRAGMENTS["groups"]))), rng)
    link = str(rng.choice(FRAGMENTS["links"]))
    if link:
        mol = _joined(mol, Chem.MolFromSmiles(link), rng)
    part = Chem.MolFromSmiles(_skeleton(rng))
    places = _open(part)
    return None if mol is None or not places else _joined(mol, part, rng, int(rng.choice(places)))


def _grown(rng, most: int) -> Chem.Mol | None:
    """From one atom: bonds to new atoms, double and triple bonds, rings of three to seven, at random."""
    mol = Chem.MolFromSmiles(str(rng.choice(["C", "N", "O"], p=[0.7, 0.15, 0.15])))
    numbers, weights = zip(*GROWN, strict=True)
    for _ in range(rng.integers(0, min(12, most // 2) + 1)):
        kind = rng.random()
        if kind < 0.7:
            new = Chem.RWMol()
            new.AddAtom(Chem.Atom(int(rng.choice(numbers, p=np.divide(weights, sum(weights))))))
            grown = _joined(mol, _whole(new), rng)
        else:
            grown = _raised(mol, rng) if kind < 0.85 else _closed(mol, rng)
        mol = mol if grown is None else grown
    return mol


def _raised(mol, rng):
    """With one more order of a bond whose ends have hydrogens."""
    free = set(_open(mol))
    bonds = [bond for bond in mol.GetBonds() if {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()} <= free]
    higher = {Chem.BondType.SINGLE: Chem.BondType.DOUBLE, Chem.BondType.DOUBLE: Chem.BondType.TRIPLE}
    bonds = [bond.GetIdx() for bond in bonds if bond.GetBondType() in higher]
    if not bonds:
        return None
    raised = Chem.RWMol(mol)
    bond = raised.GetBondWithIdx(int(rng.choice(bonds)))
    bond.SetBondType(higher[bond.GetBondType()])
    return _whole(raised)


def _closed(mol, rng):
    """With a bond between atoms two to six bonds apart."""
    free, distances = _open(mol), Chem.GetDistanceMatrix(mol)
    pairs = [(i, j) for i in free for j in free if i < j and 2 <= distances[i, j] <= 6]
    if not pairs:
        return None
    i, j = pairs[rng.integers(len(pairs))]
    if HETERO.issuperset((mol.GetAtomWithIdx(i).GetAtomicNum(), mol.GetAtomWithIdx(j).GetAtomicNum())):
        return None
    closed = Chem.RWMol(mol)
    closed.AddBond(i, j, Chem.BondType.SINGLE)
    return _whole(closed)
