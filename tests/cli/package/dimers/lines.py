"""A line for each dimer: two elements, distance (Angstrom), energy (eV), dipole along the axis (e Angstrom)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from ase.data import atomic_numbers
from pydantic import Field

from equitensor.errors import InputError
from equitensor.graph import Structure


def recognises(path: Path) -> bool:
    return path.suffix == ".dimers"


def read(path: Path, offset: Annotated[float, Field(description="dimers: eV added to energies")] = 0.0) -> Iterator:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            first, second, distance, energy, dipole = line.split()
            z = np.array([atomic_numbers[first], atomic_numbers[second]])
        except (ValueError, KeyError):
            raise InputError(f"{path}, line {number}: {line!r} is no dimer, as H O 0.97 -4.4 0.3") from None
        yield Structure.of(
            z=z,
            pos=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, float(distance)]]),
            cell=np.zeros((3, 3)),
            pbc=np.zeros(3, dtype=bool),
            energy=float(energy) + offset,
            dipole=np.array([0.0, 0.0, float(dipole)]),
            source=f"{path}, line {number}",
        )
