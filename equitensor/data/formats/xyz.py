"""Frames of XYZ files, extended or plain, and of CP2K's, whose forces and cells lie in files beside them."""

import logging
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

import numpy as np

from equitensor.data.compressed import DAMAGED, Decompressed
from equitensor.data.formats.xyz_comments import CommentParser, program
from equitensor.data.frames import for_ase

_log = logging.getLogger(__name__)
_CELLS = {"cell", "box", "unit_cell", "lattice_vectors", "cell_vectors"}


def head(path: Path, lines: int = 3) -> list[str]:
    """The first lines of a text file, compressed or not; empty ones of what is no text or ends before."""
    try:
        with TextIOWrapper(Decompressed(path)) as file:
            return [file.readline() for _ in range(lines)]
    except (*DAMAGED, ValueError):
        return [""] * lines


def frames(path: Path, energy_unit: str | None = None) -> Iterator:
    """The ase.Atoms of a file. energy_unit: that of energies in comment lines, where it is not the program's."""
    from ase.io import iread

    first = head(path)
    if "properties" not in first[1].lower() and len(first[2].split()) >= 7:
        _log.warning(
            "%s: the atoms have %d columns, but only element and position are read; name the others in the comment "
            "lines, as Properties=species:S:1:pos:R:3:forces:R:3",
            *(path, len(first[2].split())),
        )
    parser = CommentParser(energy_unit)
    cells = set()
    for atoms in iread(for_ase(path), ":", format="extxyz", do_not_split_by_at_sign=True, properties_parser=parser):
        if not atoms.cell.any():
            cells |= {name for name, value in atoms.info.items() if name.lower() in _CELLS and np.size(value) == 9}
        yield atoms
    if cells:
        names = ", ".join(sorted(cells))
        _log.warning("%s: %s is not read as the cell, so these frames are not periodic; call it Lattice", path, names)
    for name, count in parser.programs.items():
        # Of a bare number nobody knows who wrote it; the others sign their lines.
        level = logging.WARNING if name == "CREST" else logging.INFO
        what = (
            "are a bare number, as CREST writes it," if name == "CREST" else f"give the energy in the words of {name}:"
        )
        unit = energy_unit or "Hartree"
        _log.log(level, "%s: %d comment lines %s read in %s (energy_unit names another)", path, count, what, unit)


def is_cp2k(path: Path) -> bool:
    """Whether the first comment line is CP2K's."""
    return program(head(path, 2)[1]) == "CP2K"
