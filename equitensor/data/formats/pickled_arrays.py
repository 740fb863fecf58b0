"""How torch and numpy pickle their arrays, read into checked numpy arrays.

A tensor's storage is a byte string of its own format, with pickles inside: magic number, version, system, a
persistent id ("storage", type, key, device, numel, view), the list of keys, then numel and the raw values.
torch.storage._load_from_bytes would unpickle these without any restriction; here they may name nothing but
storage types.
"""

import io
import pickle
import struct

import numpy as np

from equitensor.errors import InputError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGE_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class _StorageUnpickler(pickle.Unpickler):
    def __init__(self, stream, where):
        super().__init__(stream)
        self._where = where

    def find_class(self, module, name):
        if module == "torch" and name in _STORAGE_DTYPES:
            return name
        raise InputError(
            f"{self._where}: a tensor's bytes ask for {module}.{name}, which is no storage of numbers that "
            "can be read; nothing was run. If the file is from a source you trust, export it to extxyz."
        )

    def persistent_load(self, saved_id):
        kind, storage, key, _, numel, view = saved_id
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"unknown persistent id {saved_id!r}")
        return _STORAGE_DTYPES[storage], key, int(numel)


def storage_from_bytes(raw, where):
    """The numbers of one pickled torch storage, a flat read-only numpy array.

    Raises InputError for anything but a storage of numbers; pickle.UnpicklingError for broken bytes.
    """
    stream = io.BytesIO(raw)
    unpickler = _StorageUnpickler(stream, where)
    if any(raw.startswith(head) for head in _heads):
        stream.seek(next(len(head) for head in _heads if raw.startswith(head)))
    else:
        _check_head(unpickler)
        if len(_heads) < _MOST_HEADS:
            _heads.append(raw[: stream.tell()])
    dtype, key, numel = unpickler.load()
    keys = unpickler.load()
    (count,) = struct.unpack("<q", stream.read(8))
    if keys != [key] or count != numel:
        raise pickle.UnpicklingError("a tensor's bytes hold another storage than they announce")
    return np.frombuffer(raw, dtype=dtype, count=numel, offset=stream.tell())


_heads: list[bytes] = []  # beginnings of storages that were found in order: the same bytes are so again
_MOST_HEADS = 8


def _check_head(unpickler):
    magic, version, system = (unpickler.load() for _ in range(3))
    if (magic, version) != (_MAGIC, _PROTOCOL) or not system["little_endian"]:
        raise pickle.UnpicklingError("a tensor's bytes are not in torch's little-endian storage format")


def restore_strided(storage, offset, size, stride):
    """The array that views the flat `storage` with `size` and `stride` in elements, never beyond its ends."""
    # A view of a view could have a length that its memory does not have; an ArrayState may still lose its memory.
    if type(storage) is not np.ndarray or storage.ndim != 1 or not storage.flags.c_contiguous:
        raise pickle.UnpicklingError("a tensor whose storage is not a flat array of numbers")
    size, stride = tuple(map(int, size)), tuple(map(int, stride))
    if len(size) != len(stride) or min((offset, *size, *stride)) < 0:
        raise pickle.UnpicklingError("a tensor with impossible size or stride")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= len(storage):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    if stride == _contiguous(size):
        return storage[offset : last + 1].reshape(size)
    strides = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def _contiguous(size):
    """The strides of rows one after the other, in elements."""
    strides, step = [], 1
    for n in reversed(size):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


class DtypeState:
    """A pickled numpy dtype of plain numbers or strings: no fields, no objects."""

    __slots__ = ("dtype",)

    def __init__(self, code):
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biufcSU":
            raise pickle.UnpicklingError(f"a numpy array of type {code!r}; only plain numbers and text are read")

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1])

    def array(self, raw):
        return np.frombuffer(raw, dtype=self.dtype)


class ArrayState(np.ndarray):
    """A numpy array while it is being unpickled: its state is checked before numpy sees it."""

    @classmethod
    def empty(cls):
        return cls.__new__(cls, (0,), np.int8)

    def __setstate__(self, state):
        version, shape, dtype, fortran, raw = state
        if not isinstance(dtype, DtypeState) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("a numpy array of objects; only plain numbers and text are read")
        super().__setstate__((version, shape, dtype.dtype, bool(fortran), raw))
