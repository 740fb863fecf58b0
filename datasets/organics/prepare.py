"""Make the data set of organic molecules: molecules from a seed, geometries, labels with GFN2-xTB, PubChemQCR's layout.

    pip install rdkit tblite lmdb
    OMP_NUM_THREADS=1 python datasets/organics/prepare.py runs/organics/data --processes 2

A shard is one LMDB file of 20 molecules of one part. Shards that are there are not made again, so a run that was
stopped goes on; any shard can be made alone (--parts train --shards 3:4) and is the same, whatever was made before.
`molecules.csv` lists all molecules, with the parts that they are in: a part is decided by the scaffold alone, so that
what one seed holds out no other seed trains on. A folder is of one seed and size, which `made.json` names.
"""

import argparse
import csv
import hashlib
import itertools
import multiprocessing
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rdkit
from geometries import conformers, hot, side_by_side, squeezed, stretched, transferred
from labels import Labels
from molecules import FRAGMENTS, molecules
from rdkit import Chem
from shards import BOHR, SHARD, Frame, begin, begun, record, write

HOT, TRANSFERS = "hot", "transfers"  # kinds of geometries
PAIRS = "test_dimers"  # of which energies of interaction are tested
AT_ONCE = {"train": 5, "dimers": 2}  # shards of a part before the next part's turn; of others one
STRONGEST = 1.0  # Hartree/Bohr, of a gradient: 51 eV/Angstrom
COUNTS = {"molecules": 9000, "larger": 150, "dimers": 3000}
MOST, LARGER = 50, (51, 80)  # atoms
SHARES = {"test": 0.03, "valid": 0.02}  # of scaffolds; the others are trained on
UNPAIRED = {"H": 1, "C": 2, "N": 3, "O": 2, "F": 1, "S": 2, "Cl": 1}


@dataclass(frozen=True)
class Task:
    """One shard: rows of the list, where it goes."""

    part: str
    number: int
    rows: list[dict]
    file: Path
    seed: int
    only: tuple[str, int] | None


def share(text: str) -> float:
    """A number in [0, 1) that hangs on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def part_of(scaffold: str) -> str:
    value = share(scaffold)
    for part, size in SHARES.items():
        if value < size:
            return part
        value -= size
    return "train"


def listed(seed: int, most: int = MOST, count: int = COUNTS["molecules"]) -> list[dict]:
    """All molecules and pairs, with their parts; of `count` molecules."""
    rows = [
        {"part": part_of(molecule.scaffold), "smiles": molecule.smiles, "atoms": molecule.atoms}
        for molecule in itertools.islice(molecules(seed, most=MOST), count)
    ]
    larger = itertools.islice(molecules(seed, *LARGER), COUNTS["larger"])
    pairs = _pairs(seed, [row["smiles"] for row in rows if row["atoms"] <= 16 and row["part"] == "train"])
    rows = [*rows, *pairs, *({"part": "larger", "smiles": each.smiles, "atoms": each.atoms} for each in larger)]
    return rows if most == MOST else up_to(most, rows)


def up_to(most: int, rows: list[dict]) -> list[dict]:
    """Rows of at most that many atoms; those of `test` that have more are the larger ones then."""
    larger = [row | {"part": "larger"} for row in rows if row["part"] == "test" and row["atoms"] > most]
    return [*(row for row in rows if row["part"] != "larger" and row["atoms"] <= most), *larger]


def _pairs(seed: int, small: list[str]) -> list[dict]:
    """Pairs and, one in five, clusters of three to five; no pair of test_dimers is trained on, nor within a cluster."""
    rng, partners = np.random.default_rng([seed, 2]), FRAGMENTS["partners"]
    rows = []
    for _ in range(COUNTS["dimers"]):
        count = 2 if rng.random() < 0.8 else int(rng.integers(3, 6))
        pool = partners if rng.random() < 0.7 else small
        parts = sorted([str(rng.choice(pool)), *(str(rng.choice(partners)) for _ in range(count - 1))])
        held_out = [share(".".join(pair)) < 0.06 for pair in itertools.combinations(parts, 2)]
        if count == 2 or not any(held_out):
            smiles = ".".join(parts)
            atoms = Chem.AddHs(Chem.MolFromSmiles(smiles)).GetNumAtoms()
            rows.append({"part": PAIRS if any(held_out) else "dimers", "smiles": smiles, "atoms": atoms})
    return rows


def kept_list(out: Path, options: argparse.Namespace) -> list[dict]:
    """The list of a folder: made by the first call, read by later ones. Ends the program where it is another one's."""
    table = out / "molecules.csv"
    now = {"seed": options.seed, "most": options.most, "rdkit": rdkit.__version__, "numpy": np.__version__}
    now |= {"molecules": options.molecules} if options.molecules != COUNTS["molecules"] else {}
    if chosen := only(options):
        kind, frames = chosen
        now[kind] = frames
    if begun(out, now):
        with open(table, newline="") as file:
            return [row | {"atoms": int(row["atoms"])} for row in csv.DictReader(file)]
    rows = listed(options.seed, options.most, options.molecules)
    with open(table, "w", newline="") as file:
        writer = csv.DictWriter(file, ["part", "smiles", "atoms"])
        writer.writeheader()
        writer.writerows(rows)
    (out / "isolated_atoms.xyz").write_text(isolated_atoms())
    begin(out, now)
    return rows


class Molecule:
    """One row of the list: its geometries, labelled; `counts` says what was left out.

    only: so many frames of one kind, HOT or TRANSFERS, instead of all kinds of geometries but the latter.
    """

    def __init__(self, row: dict, seed: int, number: int, only: tuple[str, int] | None = None) -> None:
        self.row, self.seed, self.only = row, seed, only
        self.rng = np.random.default_rng([seed, number, *row["part"].encode()])
        self.counts = Counter()

    def records(self) -> dict[str, dict]:
        """Record by a suffix of the key: the molecule's own, and those of a pair's halves where they are held out."""
        mol = self._start()
        if mol is None:
            self.counts["molecules without a geometry"] += 1
            return {}
        numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
        labels = Labels(numbers, mol.GetConformer(0).GetPositions() / BOHR)
        start, others = self._geometries(mol)
        if start is None and not others:
            self.counts["molecules without such geometries"] += 1
            return {}
        relaxed = [] if start is None else labels.relaxation(start / BOHR)
        frames = [labels.frame(x / BOHR) for x in others]
        self.counts["geometries without charges"] += sum(frame is None for frame in frames)
        labelled = [frame for frame in frames if frame is not None]
        stages = {"gfn2": self._usable(relaxed), "gfn2_md": self._usable(labelled)}
        halves = self._halves(mol, numbers, stages) if self.row["part"] == PAIRS else {}
        if not any(stages.values()):
            self.counts["molecules without a label"] += 1
            return {}
        self.counts["molecules"] += 1
        return {"": _record(self.row["smiles"], numbers, stages), **halves}

    def _start(self):
        count = 2 if self.only is None else 1
        parts = [conformers(smiles, count, self.seed) for smiles in self.row["smiles"].split(".")]
        if any(part is None for part in parts):
            return None
        return parts[0] if len(parts) == 1 else side_by_side(parts, self.rng)

    def _geometries(self, mol) -> tuple[np.ndarray | None, list[np.ndarray]]:
        """Where a relaxation starts, and what else is labelled."""
        if self.only is None:
            return mol.GetConformer(0).GetPositions(), self._others(mol)
        kind, count = self.only
        rows = hot(mol, 0, count, self.rng)
        if kind == HOT:
            return None, rows
        transfers = [transfer for x in rows if (transfer := transferred(mol, x, self.rng)) is not None]
        return (transfers[0][1] if transfers else None), [between for between, _ in transfers]

    def _others(self, mol) -> list[np.ndarray]:
        """Geometries beside the relaxation."""
        rows = hot(mol, 0, 10, self.rng)
        for other in range(1, mol.GetNumConformers()):
            rows += hot(mol, other, 5, self.rng)
        if self.row["part"] in ("train", "dimers") and rows:
            rows.append(squeezed(rows[self.rng.integers(len(rows))], self.rng))
            apart = stretched(mol, rows[self.rng.integers(len(rows))], self.rng) if self.rng.random() < 0.5 else None
            rows += [] if apart is None else [apart]
        return rows

    def _usable(self, frames: list[Frame]) -> list[Frame]:
        usable = [frame for frame in frames if np.abs(frame.gradient).max() < STRONGEST]
        self.counts["frames"] += len(usable)
        self.counts["frames with a gradient over 1 Hartree/Bohr"] += len(frames) - len(usable)
        return usable

    def _halves(self, mol, numbers, stages) -> dict[str, dict]:
        """Each half of a pair in all its frames, as it is beside the other: for energies of interaction.

        Frames of which a half has no charges are taken out of `stages`.
        """
        fragments = [list(atoms) for atoms in Chem.GetMolFrags(mol)]
        start = mol.GetConformer(0).GetPositions() / BOHR
        labels = [Labels(numbers[atoms], start[atoms]) for atoms in fragments]
        alone = {}
        for stage, rows in stages.items():
            of_frames = [
                [each.frame(frame.positions[atoms]) for each, atoms in zip(labels, fragments, strict=True)]
                for frame in rows
            ]
            whole = [None not in halves for halves in of_frames]
            stages[stage] = list(itertools.compress(rows, whole))
            alone[stage] = list(itertools.compress(of_frames, whole))
        return {
            name: _record("", numbers[atoms], {stage: [row[side] for row in rows] for stage, rows in alone.items()})
            for side, (name, atoms) in enumerate(zip("ab", fragments, strict=True))
        }


def _record(smiles: str, numbers: np.ndarray, stages: dict[str, list[Frame]]) -> dict:
    return record(smiles, [Chem.GetPeriodicTable().GetElementSymbol(int(number)) for number in numbers], stages)


def make(task: Task) -> str:
    """Write one shard; what came of it, in a line."""
    counts = Counter()
    return write(task.file, _records(task, counts), counts)


def _records(task: Task, counts: Counter):
    for place, row in enumerate(task.rows):
        number = task.number * SHARD + place
        molecule = Molecule(row, task.seed, number, task.only)
        for suffix, one in molecule.records().items():
            yield f"{task.part} {task.seed}-{number:06}{suffix}", one  # a key that no other seed has
        counts += molecule.counts


def isolated_atoms() -> str:
    """Energies of free atoms in their ground states, as extxyz."""
    lines = []
    for symbol, unpaired in UNPAIRED.items():
        number = Chem.GetPeriodicTable().GetAtomicNumber(symbol)
        frame = Labels(np.array([number]), np.zeros((1, 3)), uhf=unpaired).frame(np.zeros((1, 3)))
        energy = frame.energy * 27.211386245981
        lines += ["1", f'Properties=species:S:1:pos:R:3 energy={energy:.6f} config_type=isolated_atom pbc="F F F"']
        lines += [f"{symbol} 0 0 0"]
    return "\n".join(lines) + "\n"


def only(options: argparse.Namespace) -> tuple[str, int] | None:
    """The one kind of geometries that was asked for, and how many of each molecule."""
    asked = {kind: getattr(options, kind) for kind in (HOT, TRANSFERS)}
    return next(((kind, count) for kind, count in asked.items() if count is not None), None)


def tasks(rows: list[dict], options: argparse.Namespace) -> list[Task]:
    shards = slice(*(int(end) if end else None for end in options.shards.split(":")))
    pending = []
    for part in dict.fromkeys(row["part"] for row in rows):
        if (options.parts and part not in options.parts) or (options.transfers and part == PAIRS):
            continue
        own = [row for row in rows if row["part"] == part]
        pieces = [own[start : start + SHARD] for start in range(0, len(own), SHARD)]
        for number, piece in list(enumerate(pieces))[shards]:
            file = options.out / part / f"{number:04}.lmdb"
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                pending.append(Task(part, number, piece, file, options.seed, only(options)))
    return sorted(pending, key=lambda task: task.number // AT_ONCE.get(task.part, 1))  # something of every part early


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=MOST, help="atoms of a molecule; default %(default)s")
    parser.add_argument("--molecules", type=int, default=COUNTS["molecules"], help="of the list; default %(default)s")
    one_kind = parser.add_mutually_exclusive_group()
    one_kind.add_argument(
        "--hot", type=int, help="only so many frames of dynamics of each molecule: more molecules in the same time"
    )
    one_kind.add_argument(
        "--transfers",
        type=int,
        help="only so many frames of each molecule with a hydrogen on its way to another atom, and one relaxation",
    )
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--parts", nargs="+", help="train, valid, test, larger, dimers, test_dimers; default: all")
    parser.add_argument("--shards", default=":", help="first:end of each part, default all")
    options = parser.parse_args()
    if (chosen := only(options)) and chosen[1] < 1:
        parser.error(f"--{chosen[0]} {chosen[1]}: a molecule needs at least one frame")
    if options.transfers and PAIRS in (options.parts or ()):
        parser.error(f"--transfers does not make {PAIRS}: a hydrogen between two molecules belongs to no half")
    options.out.mkdir(parents=True, exist_ok=True)
    todo = tasks(kept_list(options.out, options), options)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for line in pool.imap_unordered(make, todo):
            print(line, flush=True)


if __name__ == "__main__":
    main()
