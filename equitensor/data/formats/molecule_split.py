"""Which molecules of a PubChemQCR file belong to a part of a split that somebody has written down.

A split is JSON, {"train": [222, ...], "val": [...], ...} or {"000000222": "train", ...}, or a text with one molecule a
line, which is the part itself. Molecules are CIDs: numbers, with leading zeros or without, or keys in hexadecimal (as
the published loader writes its lists).
"""

import json
import logging
import re
from functools import lru_cache
from pathlib import Path

from equitensor.data.formats.lmdb_records import keys
from equitensor.errors import InputError

_log = logging.getLogger(__name__)
_HEX = re.compile(r"(?:3\d)+")  # of digits
_LEAST = 0.5  # share of a file's molecules that a split must name, if it names any


def selected(file: Path, molecules: list[bytes], split_file: str | None, subset: str | None) -> list[bytes]:
    """Those of the molecules (keys of `file`) that belong to the subset; all without a split.

    Raises InputError for a split that cannot be read or has no such subset, and for one that names few of the file's
    molecules: its entries then are something else, as positions in a list.
    """
    if split_file is None:
        if subset is not None:
            raise InputError(f"{file}: subset is {subset!r}, but no split_file says which molecules that are")
        return molecules
    wanted = _wanted(file, split_file, subset)
    return [key for key in molecules if key in wanted]


@lru_cache(maxsize=8)
def _wanted(file: Path, split_file: str, subset: str | None) -> frozenset[bytes]:
    wanted, known = _split(str(Path(split_file).expanduser()), subset)
    cids = {key: _cid(key.decode(errors="replace")) for key in keys(file)}
    named = sum(number in known for number in cids.values())
    if named == 0:
        _log.warning("%s: none of its molecules is in %s", file, split_file)
    elif named < _LEAST * len(cids):
        raise InputError(
            f"{split_file}: names only {named} of the {len(cids)} molecules in {file}; are its entries CIDs of "
            "this file?"
        )
    return frozenset(key for key, number in cids.items() if number in wanted)


@lru_cache(maxsize=8)
def _split(path: str, subset: str | None) -> tuple[frozenset[int], frozenset[int]]:
    """The CIDs of a subset, and of all."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the split cannot be read ({error})") from None
    if not text.lstrip().startswith(("{", "[")):
        return _whole(path, text.split(), subset)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if isinstance(content, list):
        return _whole(path, content, subset)
    parts: dict[str, set[int]] = {}
    for name, value in content.items():
        if isinstance(value, str):  # molecule -> part
            parts.setdefault(value, set()).add(_number(name, path))
        else:
            parts.setdefault(name, set()).update(_number(each, path) for each in _flat(value))
    if subset not in parts:
        which = "no subset was named" if subset is None else f"there is no subset {subset!r}"
        raise InputError(f"{path}: {which}; it has {', '.join(sorted(parts))}")
    return frozenset(parts[subset]), frozenset().union(*parts.values())


def _whole(path, molecules, subset):
    if subset is not None:
        raise InputError(f"{path}: a list of molecules has no subsets; leave out subset={subset}")
    cids = frozenset(_number(each, path) for each in molecules)
    return cids, cids


def _flat(value):
    """The molecules in a list, or in lists by name (of files) or in one another."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _flat(each)
    else:
        yield value


def _number(molecule, path) -> int:
    number = _cid(str(molecule).strip().removeprefix("cid").strip())
    if number is None:
        raise InputError(f"{path}: {molecule!r} is no CID of a molecule")
    return number


def _cid(text: str) -> int | None:
    """The number in decimal digits, or in the hexadecimal bytes of at least nine of these."""
    if len(text) >= 18 and _HEX.fullmatch(text):
        text = bytes.fromhex(text).decode()
    return int(text) if text.isdecimal() else None
