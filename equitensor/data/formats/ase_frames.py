"""The frames of a file that ASE reads, with what ASE's readers make up or leave out put right."""

from collections.abc import Iterator
from pathlib import Path

from equitensor.data.compressed import DAMAGED
from equitensor.data.formats import ase_database, cp2k, lammps_dump, runner, xyz
from equitensor.data.frames import ends_in_a_number, for_ase, format_of, is_compressed, warn_cut, whole_frames
from equitensor.errors import InputError


def file_format(path: Path) -> str | None:
    """ASE's name of a file's format, or None where it has none that it can read."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    if (name := format_of(path)) is not None:
        return name
    try:
        # With the folder before it, no name looks like the address of a server ("mysql...").
        name = filetype(str(path.absolute()))
    except (UnknownFileTypeError, *DAMAGED, EOFError, ValueError):
        return None
    if name == "runnerdata" and not runner.is_runner(path):
        return None
    return name if name in ioformats and ioformats[name].can_read else None


def default_units(path: Path, name: str | None, given: dict) -> dict:
    """The units that a file has by its format, as options of the label reader; what is `given` comes first."""
    if name == "extxyz" and xyz.is_cp2k(path):
        units = cp2k.UNITS
    elif name in ("db", "json"):
        units = ase_database.units(path, given)
    elif name == "lammps-dump-text":
        units = lammps_dump.units(path, given)
    else:
        units = {}
    return {**units, **{option: unit for option, unit in given.items() if unit is not None}}


def frames(path: Path, name: str | None, given: dict, elements: list[str] | None) -> Iterator:
    """The ase.Atoms of a file in the ASE format `name`, the whole ones of one that was cut off.

    Raises InputError naming file and frame.
    """
    if elements is not None and name != "lammps-dump-text":
        raise InputError(f"{path}: elements names the types of a LAMMPS dump; this file says its elements itself")
    number, whole = 0, ends_in_a_number(path)
    if whole == 0:
        raise InputError(f"{path}, frame 0: ASE cannot read it: the file ends before this frame does")
    try:
        for atoms in _frames(path, name, given, elements):
            if number == whole:
                warn_cut(path, number)
                return
            yield atoms
            number += 1
        if number == whole:  # cut between two frames, as the end of a compressed file can be
            warn_cut(path, number)
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{path}, frame {number}: unknown element or key {error}") from None
    except Exception as error:  # readers of a hundred formats raise whatever they like
        whole = whole_frames(path)
        if not number or whole != number:
            where = number or whole or 0  # ASE looks for the beginnings of all frames before it reads the first
            raise InputError(f"{path}, frame {where}: ASE cannot read it: {error}{_advice(path, error)}") from None
        warn_cut(path, number)


def _advice(path: Path, error: Exception) -> str:
    """What to do about a compressed file that is cut off."""
    if not (is_compressed(path) and isinstance(error, EOFError)):
        return ""
    command = {".gz": "zcat", ".bz2": "bzcat", ".xz": "xzcat"}[path.suffix.lower()]
    return f". It is cut off; {command} {path.name} > {path.stem} gives what is left of it"


def _frames(path, name, given, elements):
    from ase.io import iread

    if name == "extxyz":
        return cp2k.frames(path) if xyz.is_cp2k(path) else xyz.frames(path, given.get("energy_unit"))
    if name == "lammps-dump-text":
        return lammps_dump.frames(path, elements)
    if name in ("db", "json"):
        return ase_database.frames(path)
    if name == "runnerdata":
        return runner.frames(path, given.get("energy_unit"), given.get("length_unit"))
    return iread(for_ase(path), ":", format=name, do_not_split_by_at_sign=True)
