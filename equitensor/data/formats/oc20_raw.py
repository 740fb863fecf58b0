"""OC20's S2EF data as downloaded: N.extxyz[.xz] with the frames beside N.txt[.xz] with one line per frame.

A line of the text file is `random<sid>,frame<fid>,<reference energy>`: system, step of its relaxation, and
the energy of clean slab and molecule. OC20's target is energy - reference, the adsorption energy; that is
what is read, unless total energies are asked for; test splits have neither. `move_mask` F marks atoms that were
held in place.
"""

import io
import lzma
from typing import Annotated

import numpy as np
from pydantic import Field

from equitensor.data.formats.lmdb_records import shards
from equitensor.errors import InputError
from equitensor.graph import Structure

_TOTAL = "raw OC20: total energies instead of adsorption energies"
_SUFFIXES = (".extxyz.xz", ".extxyz")


def recognises(path):
    """Whether `path` is such an extxyz file with its text file beside it, or a folder of them."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    frames = [file for file in files if file.name.endswith(_SUFFIXES)]
    return bool(frames) and _text_file(frames[0]).is_file()


def read(path, total: Annotated[bool, Field(description=_TOTAL)] = False):
    """The frames of a file or a folder of files, one at a time, in their order.

    Energies are adsorption energies, energy - reference; with total=True the DFT total energies.
    Structure.group is the system ("sid 1000102"). Raises InputError for frames and lines that do not match.
    """
    for file in shards(path, _SUFFIXES):
        text = _text_file(file)
        if not text.is_file():
            raise InputError(f"{file}: {text.name} with systems and reference energies is not beside it")
        with _open(text) as lines, _open(file) as stream:
            for number, frame in enumerate(_frames(stream, file)):
                line = f"{text}, line {number + 1}"
                system, reference = _system(lines.readline(), line)
                structure = _structure(frame, f"{file}, frame {number}", system)
                if structure.energy is not None and not total:
                    if reference is None:
                        raise InputError(
                            f"{line}: no reference energy; with total=True (--total) total energies are read"
                        )
                    structure = structure.replace(energy=structure.energy - reference)
                yield structure
            if lines.readline().strip():
                raise InputError(f"{text} has more lines than {file.name} has frames")


def _text_file(file):
    return file.with_name(file.name.replace(".extxyz", ".txt"))


def _open(file):
    return lzma.open(file, "rt") if file.suffix == ".xz" else file.open()


def _frames(stream, file):
    """The text of each frame: the number of atoms, the comment and that many lines."""
    try:
        while count := stream.readline():
            yield count + "".join(stream.readline() for _ in range(int(count) + 1))
    except (ValueError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{file}: not a whole file of extxyz frames ({error})") from error


def _system(line, where):
    """("sid 1000102", reference energy) of a line `random1000102,frame0,-240.4`; None for one that is not there."""
    try:
        system, _, *reference = line.strip().split(",")
        if len(reference) > 1:
            raise ValueError("too many")
        return f"sid {system.removeprefix('random')}", float(reference[0]) if reference else None
    except ValueError:
        raise InputError(f"{where}: {line.strip()!r} is not `random<sid>,frame<fid>,<reference energy>`") from None


def _structure(frame, where, system):
    from ase.io import read

    try:
        atoms = read(io.StringIO(frame), format="extxyz")
    except Exception as error:  # ASE raises many kinds for broken frames
        raise InputError(f"{where}: not a readable extxyz frame ({error})") from error
    results = atoms.calc.results if atoms.calc else {}
    structure = Structure.from_ase(atoms, group=system, source=where)
    return structure.replace(
        energy=float(results["energy"]) if "energy" in results else None,
        forces=np.array(results["forces"]) if "forces" in results else None,
    )
