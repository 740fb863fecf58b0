"""The keys and shards of published LMDB data sets."""

import re
from weakref import WeakKeyDictionary

from equitensor.data.environment import is_lmdb, open_lmdb
from equitensor.errors import InputError

_known: WeakKeyDictionary = WeakKeyDictionary()


def first_value(path, suffix, other_keys=(b"length",)):
    """The first record of an LMDB file, or of the first file with this suffix in a folder; or None.

    Raises InputError for an LMDB file that is truncated.
    """
    if path.is_dir():
        path = min((file for file in path.iterdir() if file.name.endswith(suffix)), default=path)
    if not is_lmdb(path):
        return None
    with open_lmdb(path).transaction() as txn:
        return next((bytes(value) for key, value in txn.cursor() if bytes(key) not in other_keys), None)


def keys(file, other_keys=()):
    """The keys of an LMDB file without `other_keys`, in the order of the file."""
    return _remembered(file, (other_keys, "all"), lambda reader: _read_keys(reader, other_keys))


def numbered_keys(file, other_keys=()):
    """The ASCII number keys of a file in numeric order (LMDB itself sorts 0, 1, 10, 11, 2).

    Raises InputError for a key that is neither a number nor one of `other_keys`.
    """
    return _remembered(file, (other_keys, "numbered"), lambda reader: _sorted_numbers(reader, file, other_keys))


def _remembered(file, what, read):
    """Lists of keys are kept as long as their file is open: those who read it part by part ask again and again."""
    reader = open_lmdb(file)
    known = _known.setdefault(reader, {})
    if what not in known:
        known[what] = read(reader)
    return known[what]


def _read_keys(reader, other_keys):
    with reader.transaction() as txn:
        names = [bytes(key) for key in txn.cursor().iternext(keys=True, values=False)]
    return [key for key in names if key not in other_keys]


def _sorted_numbers(reader, file, other_keys):
    names = _read_keys(reader, other_keys)
    for key in names:
        if not key.isdigit():
            raise InputError(f"{file}: the key {key!r} is not a number: not a file of this format")
    return sorted(names, key=int)


def shards(path, suffix):
    """The files with this suffix in a folder, data.2 before data.10; or the file itself.

    Raises InputError where `path` does not exist or the folder has none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path} does not exist")
    files = [file for file in path.iterdir() if file.is_file() and file.name.endswith(suffix)]
    if not files:
        raise InputError(f"the folder {path} has no file *{suffix}")
    return sorted(files, key=natural_order)


def natural_order(file):
    """Sorts names with digits in them: data.2 before data.10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]
