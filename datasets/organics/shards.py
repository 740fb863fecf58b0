"""Shards in the layout of PubChemQCR: LMDB files of molecules, each with its stages of frames."""

import gzip
import json
import pickle
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np

SHARD = 20  # molecules
BOHR = 0.529177210544  # Angstrom


@dataclass(frozen=True)
class Frame:
    """Positions (Bohr), energy (Hartree), gradient (Hartree/Bohr)."""

    positions: np.ndarray
    energy: float
    gradient: np.ndarray


def record(smiles: str, symbols: Sequence[str], stages: dict[str, list[Frame]]) -> dict:
    """As PubChemQCR keeps a molecule: positions in Angstrom, energies and gradients in Hartree and Bohr."""
    return {"smiles": smiles} | {stage: [_step(symbols, frame) for frame in frames] for stage, frames in stages.items()}


def _step(symbols: Sequence[str], frame: Frame) -> dict:
    positions, gradient = (frame.positions * BOHR).round(6).tolist(), frame.gradient.round(8).tolist()
    return {
        "coordinates": [{"atom": s, "x": x, "y": y, "z": z} for s, (x, y, z) in zip(symbols, positions, strict=True)],
        "energy": frame.energy,
        "gradient": [{"atom": s, "dx": x, "dy": y, "dz": z} for s, (x, y, z) in zip(symbols, gradient, strict=True)],
    }


def begun(folder: Path, choice: dict) -> bool:
    """Whether shards of this choice are in the folder; ends the program where they are of another, which do not fit."""
    made = folder / "made.json"
    if not made.exists():
        return False
    if (before := json.loads(made.read_text())) != choice:
        sys.exit(f"error: {folder} was begun with {before}, this is {choice}: take another folder")
    return True


def begin(folder: Path, choice: dict) -> None:
    """Keep the choice in the folder."""
    building = folder / "made.building"
    building.write_text(json.dumps(choice) + "\n")
    building.replace(folder / "made.json")


def write(file: Path, records: Iterable[tuple[str, dict]], counts: Counter) -> str:
    """Write a shard of (key, record), whole or not at all, with a report beside it, which is returned as a line.

    counts: what happened while the records were made, which may be when they are asked for.
    """
    began, building = time.process_time(), file.with_suffix(".building")
    shutil.rmtree(building, ignore_errors=True)
    with lmdb.open(str(building), map_size=2**32) as environment:
        with environment.begin(write=True) as transaction:
            for key, value in records:
                transaction.put(key.encode(), gzip.compress(pickle.dumps(value), mtime=0))
        environment.copy(str(_emptied(building.with_suffix(".copy"))), compact=True)
    report = {**counts, "seconds": round(time.process_time() - began, 1)}
    file.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    (building.with_suffix(".copy") / "data.mdb").rename(file)
    shutil.rmtree(building)
    shutil.rmtree(building.with_suffix(".copy"))
    return f"{file}: " + ", ".join(f"{value} {name}" for name, value in report.items())


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
