"""PubChemQCR's LMDB files as published: whole relaxations of small molecules, one molecule per key.

A value is a gzipped pickle: {"pm3", "hf", "DFT_1st", "DFT_2nd"} -> a list of steps, an empty list or None.
A step holds the coordinates (Angstrom), the energy (Hartree) and the gradient (Hartree/Bohr; forces are its
negative). Steps that were computed with SMASH lack the nuclear charges, which nothing here needs.

The two DFT stages are one level of theory, B3LYP/6-31G*, and read by default. PM3 and Hartree-Fock are
others: their energies lie many eV apart, so they are read only by name and never with another level's stage.
The second stage starts at the geometry at which the first ended: that frame comes twice.
"""

import gzip
import logging
import zlib
from typing import Annotated

import numpy as np
from pydantic import Field

from equitensor.data.environment import open_lmdb
from equitensor.data.formats.lmdb_records import first_value, keys, shards
from equitensor.data.formats.molecule_split import selected
from equitensor.data.formats.unpickle import loads
from equitensor.errors import InputError
from equitensor.graph import Structure

_log = logging.getLogger(__name__)

LEVELS = {
    "pm3": "PM3",
    "hf": "Hartree-Fock",
    "DFT_1st": "B3LYP/6-31G*",
    "DFT_2nd": "B3LYP/6-31G*",
}
OURS = {"gfn2": "GFN2-xTB", "gfn2_md": "GFN2-xTB", "b3lyp": "B3LYP/6-31G*"}  # of datasets/organics, in the same layout
LEVELS |= OURS
DFT_STAGES = ("DFT_1st", "DFT_2nd")


def recognises(path):
    """Whether `path` is an LMDB file, or a folder of them, whose records are gzipped relaxations.

    Raises InputError for an LMDB file that is truncated.
    """
    value = first_value(path, ".lmdb")
    return value is not None and value[:2] == b"\x1f\x8b"


def read(
    path,
    stages: Annotated[
        list[str] | str | None,
        Field(
            description="PubChemQCR: an optimisation stage to read, repeatable; default: the DFT stages",
            json_schema_extra={"option": "stage", "repeated": True},
        ),
    ] = None,
    mix_levels: Annotated[
        bool, Field(description="PubChemQCR: allow stages with different levels of theory in one store")
    ] = False,
    split_file: Annotated[
        str | None,
        Field(description="PubChemQCR: a split by molecule (JSON or text)", json_schema_extra={"metavar": "FILE"}),
    ] = None,
    subset: Annotated[
        str | None, Field(description="PubChemQCR: the part of the split to read: train, val, ...")
    ] = None,
):
    """The steps of every molecule of a file or a folder, in eV and eV/Angstrom, one molecule at a time.

    stages: names out of LEVELS, as a list or separated by commas. mix_levels=True allows stages of different
    levels of theory in one data set. split_file, subset: read the molecules that a published split names (see
    molecule_split). Structure.group is the molecule ("cid 000000222"), config_type the
    stage.
    An energy or gradient that a step lacks, or a gradient that does not cover all its atoms, is a missing
    label; steps without coordinates are left out with one warning that counts them.
    Raises InputError for unknown or mixed stages, unreadable records, and a source without any such step.
    """
    stages = _checked_stages(DFT_STAGES if stages is None else stages, mix_levels)
    molecules, bare = 0, []
    for file, count in parts(path):
        for structure in _read(file, keys(file)[:count], stages, bare, split_file, subset):
            molecules += 1
            yield structure
    _mention_bare(path, bare)
    if not molecules:
        of = "" if split_file is None else f" and of {split_file}"
        raise InputError(f"{path} has no step of the stages {', '.join(stages)}{of}; known are {', '.join(LEVELS)}")


def parts(path):
    """(file, number of molecules) of each file, for `read_part`."""
    return [(file, len(keys(file))) for file in shards(path, ".lmdb")]


def read_part(file, start, stop, stages=None, mix_levels=False, split_file=None, subset=None):
    """As `read`: the molecules start ... stop - 1 of a file, which may be without any step."""
    bare: list[str] = []
    stages = _checked_stages(DFT_STAGES if stages is None else stages, mix_levels)
    yield from _read(file, keys(file)[start:stop], stages, bare, split_file, subset)
    _mention_bare(file, bare)


def _read(file, molecules, stages, bare, split_file, subset):
    for key in selected(file, molecules, split_file, subset):
        cid = key.decode(errors="replace")
        for where, stage, step in _steps(open_lmdb(file).get(key), stages, f"{file}, key {cid}"):
            if step.get("coordinates"):
                yield _structure(step, where, f"cid {cid}", stage)
            else:
                bare.append(where)


def _mention_bare(path, bare):
    if bare:
        _log.warning("%s: %d steps have no coordinates; left out, first %s", path, len(bare), bare[0])


def _checked_stages(stages, mix_levels):
    names = [name for text in ([stages] if isinstance(stages, str) else stages) for name in text.split(",")]
    known = {name.lower(): name for name in LEVELS}
    unknown = [name for name in names if name.strip().lower() not in known]
    if unknown or not names:
        what = f"unknown stage {', '.join(map(repr, unknown))}" if unknown else "the list of stages is empty"
        raise InputError(f"{what}; PubChemQCR has pm3, hf, DFT_1st and DFT_2nd, our datasets {', '.join(OURS)}")
    names = list(dict.fromkeys(known[name.strip().lower()] for name in names))
    levels = sorted({LEVELS[name] for name in names})
    if len(levels) > 1 and not mix_levels:
        raise InputError(
            f"the stages {', '.join(names)} are different levels of theory ({', '.join(levels)}), whose "
            "energies cannot be compared; choose the stages of one level, or ask for it with mix_levels=True"
        )
    return names


def _steps(value, stages, where):
    try:
        raw = gzip.decompress(value)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{where}: not a whole gzip stream ({error})") from error
    record = loads(raw, where)
    if not isinstance(record, dict):
        raise InputError(f"{where}: a {type(record).__name__}, not the stages of a relaxation")
    for stage in stages:
        for number, step in enumerate(record.get(stage) or ()):
            if not isinstance(step, dict):
                raise InputError(f"{where}, {stage}, step {number}: a {type(step).__name__}, not a step")
            yield f"{where}, {stage}, step {number}", stage, step


def _structure(step, where, group, stage):
    from ase.units import Bohr, Hartree

    atoms, gradient, energy = step["coordinates"], step.get("gradient") or (), step.get("energy")
    try:
        symbols = [atom["atom"] for atom in atoms]
        positions = np.array([[atom["x"], atom["y"], atom["z"]] for atom in atoms], dtype=np.float64)
        gradients = np.array([[atom["dx"], atom["dy"], atom["dz"]] for atom in gradient], dtype=np.float64)
        same_atoms = [atom["atom"] for atom in gradient] == symbols
        energy = None if energy is None else float(energy) * Hartree
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: not the layout of a PubChemQCR step ({type(error).__name__}: {error})") from error
    if len(gradients) == len(atoms) and not same_atoms:
        raise InputError(f"{where}: the gradient lists other atoms than the coordinates")
    return Structure(
        z=_atomic_numbers(symbols, where),
        pos=positions,
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, dtype=bool),
        energy=energy,
        forces=-gradients * (Hartree / Bohr) if len(gradients) == len(atoms) else None,
        config_type=stage,
        group=group,
        source=where,
    )


def _atomic_numbers(symbols, where):
    from ase.data import atomic_numbers

    z = [atomic_numbers.get(str(symbol).strip().capitalize(), 0) for symbol in symbols]
    if 0 in z:
        raise InputError(f"{where}: {symbols[z.index(0)]!r} is no chemical element")
    return np.array(z, dtype=np.int64)
