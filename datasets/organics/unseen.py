"""Molecules that no training saw: those of part `test` in `molecules.csv`, in an order that hangs on their SMILES."""

import csv
import hashlib
import sys
from pathlib import Path


def unseen(folder: Path, part: str = "test") -> list[dict]:
    """Rows of the list, `smiles` and `atoms`, as random as SHA-256. Ends the program where there is no list."""
    table = folder / "molecules.csv"
    if not table.exists():
        sys.exit(f"error: {table} is not there: prepare.py makes it at the start of a run")
    with open(table, newline="") as file:
        rows = [
            {"smiles": row["smiles"], "atoms": int(row["atoms"])} for row in csv.DictReader(file) if row["part"] == part
        ]
    return sorted(rows, key=lambda row: _place(row["smiles"]))


def _place(smiles: str) -> bytes:
    """Another hash than that by which parts are decided: by that one, molecules without rings would all come first."""
    return hashlib.sha256(f"unseen {smiles}".encode()).digest()
