"""Files of structures through ASE: the ending decides the format, and whole frames of a cut file are used."""

import logging
import re
from io import StringIO
from pathlib import Path
from typing import Any

from equitensor.data.compressed import DAMAGED, SUFFIXES, Decompressed
from equitensor.errors import InputError
from equitensor.whole_file import whole_file

_log = logging.getLogger(__name__)
# ASE looks for POSCAR, OUTCAR ... anywhere in a name before it looks at these.
_ENDINGS = {
    ".traj": "traj",
    ".db": "db",
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".cif": "cif",
    ".pdb": "proteindatabank",
    ".vasp": "vasp",
    ".poscar": "vasp",
}


def format_of(path) -> str | None:
    """ASE's name of the format that the ending of a file stands for, or None where ASE shall look for itself."""
    return _ENDINGS.get(ending(path))


def ending(path) -> str:
    """The last ending of a name in lower case, before that of a compressed file: ".xyz" of "run.md.XYZ.gz"."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in SUFFIXES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def split_index(path) -> tuple[Path, int | None]:
    """The path and the frame of "file@3" (the fourth); names of files may hold an @ themselves.

    Raises InputError where there is no such file or folder.
    """
    path = Path(path)
    if path.exists():
        return path, None
    named = re.fullmatch(r"(.+)@(-?\d+)", path.name)
    if named and path.with_name(named[1]).exists():
        return path.with_name(named[1]), int(named[2])
    raise InputError(f"{path}: no such file or folder")


def read_frame(path, index: int | None = None):
    """One ase.Atoms of a file, the last unless an index is given; of a file that was cut off the last whole one.

    Raises InputError where ASE finds no structure, or one without atoms.
    """
    import ase.io

    options: dict[str, Any] = {"format": format_of(path), "do_not_split_by_at_sign": True}
    count = ends_in_a_number(path) if index is None else None
    try:
        if count is not None:
            raise EOFError("its only frame is cut off")
        atoms = ase.io.read(for_ase(path), index=-1 if index is None else index, **options)
    except Exception as error:  # every format of ASE's fails in its own way
        count = whole_frames(path) if index is None else None
        if not count:
            which = "no structure" if index is None else f"no structure number {index} (they count from 0)"
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"{path}: ASE finds {which} in it ({reason})") from None
        warn_cut(path, count)
        atoms = ase.io.read(for_ase(path), index=count - 1, **options)
    if len(atoms) == 0:
        raise InputError(f"{path}: the structure has no atoms")
    return atoms


def for_ase(path) -> str | StringIO:
    """What ASE shall read: the file or, of a compressed xyz file that is cut off, the text that is left of it."""
    if is_compressed(path) and format_of(path) == "extxyz":
        with Decompressed(path) as file:
            while file.read(1 << 20):
                pass
            is_cut = file.is_cut
        if is_cut:
            with Decompressed(path) as file:
                return StringIO(file.read().decode())
    return str(Path(path).absolute())


def is_compressed(path) -> bool:
    """Whether the name ends in .gz, .bz2 or .xz."""
    return Path(path).suffix.lower() in SUFFIXES


def warn_cut(path, count: int) -> None:
    """Say that a file ends in the middle of a frame."""
    _log.warning("%s ends in the middle of a frame (a run that was killed?): its %d whole frames are used", path, count)


def whole_frames(path) -> int | None:
    """How many whole frames a trajectory (.traj; .extxyz, .xyz, compressed or not) holds before its end, which is cut.

    None where nothing is cut, and for other files.
    """
    kind = format_of(path)
    if kind == "extxyz":
        try:
            count, _, is_cut = _scan_xyz(path)
        except DAMAGED:  # in the middle of the compressed stream, where nothing is whole
            return None
        return count if is_cut else None
    return _whole_in_traj(path) if kind == "traj" and not is_compressed(path) else None


def ends_in_a_number(path) -> int | None:
    """The number of whole frames of an extended xyz file whose last number is cut: ASE would read another number."""
    if format_of(path) != "extxyz":
        return None
    if is_compressed(path):
        return whole_frames(path)
    with Path(path).open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - 1))
        return None if file.read(1) == b"\n" else whole_frames(path)


def drop_cut_frame(path) -> None:
    """Leave only the whole frames of a trajectory (not compressed), so that others can be appended."""
    count = whole_frames(path)
    if count is None:
        return
    warn_cut(path, count)
    if format_of(path) == "extxyz":
        with Path(path).open("r+b") as file:
            file.truncate(_scan_xyz(path)[1])
    else:
        _rewrite_traj(Path(path), count)


def _scan_xyz(path) -> tuple[int, int, bool]:
    """The number of whole frames, where they end in bytes (decompressed), and whether the file goes on after that.

    A compressed file is cut as well where its own end is missing.
    """
    count = end = 0
    with Decompressed(path) as file:
        header = file.readline()
        while header.strip().isdigit() and header.endswith(b"\n"):
            lines = [file.readline() for _ in range(int(header) + 1)]
            if b"" in lines or _is_cut(lines[1:]) or (file.is_cut and not lines[-1].endswith(b"\n")):
                break
            count, end = count + 1, end + len(header) + sum(map(len, lines))
            while (header := file.readline()).lstrip().startswith(b"VEC") and header.endswith(b"\n"):
                end += len(header)
        if count and not header.strip() and not (rest := file.read()).strip():  # empty lines at the end
            end, header = end + len(header) + len(rest), b""
        return count, end, bool(header) or file.is_cut


def _is_cut(lines) -> bool:
    """Whether the last line of a frame misses more than its newline: words, or digits that all others have."""
    if not lines or lines[-1].endswith(b"\n"):
        return False
    *others, words = [line.split() for line in lines]
    if others and len(words) < len(others[0]):
        return True
    decimals = {_decimals(word) for word in words[:-1]} - {0}
    written_alike = len(decimals) == 1 and {_decimals(other[-1]) for other in others} == decimals
    return written_alike and _decimals(words[-1]) < max(decimals)


def _decimals(word: bytes) -> int:
    return len(word.partition(b".")[2])


def _whole_in_traj(path) -> int | None:
    from ase.io.trajectory import Trajectory

    try:
        with Path(path).open("rb") as file, Trajectory(file) as frames:
            for number in reversed(range(len(frames))):
                try:
                    frames[number]
                except Exception:  # what lies behind the end of a file can be anything
                    continue
                return None if number == len(frames) - 1 else number + 1
    except Exception:  # not even a header
        pass
    return 0


def _rewrite_traj(path: Path, count: int) -> None:
    from ase.io.trajectory import Trajectory

    with whole_file(path) as partial, Trajectory(path) as frames, Trajectory(partial, "w") as kept:
        for number in range(count):
            kept.write(frames[number])
