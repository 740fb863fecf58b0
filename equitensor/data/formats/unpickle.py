"""Reads pickled records without running them: a short list of known classes is rebuilt, all else is refused.

A pickle is a program. OC20 and PubChemQCR publish pickles, so what they may call is written down here, name
by name, and each name leads to code of ours: PyTorch-Geometric is never imported and torch is not needed.
Tensors and numpy arrays come back as numpy arrays, PyG's `Data` as a `Fields` with its attributes.
"""

import collections
import io
import pickle

from equitensor.data.formats.pickled_arrays import ArrayState, DtypeState, restore_strided, storage_from_bytes
from equitensor.errors import InputError


class _Sealed(type):
    """A pickle may set attributes of what it has built, but not of our classes."""

    def __setattr__(cls, name, value):
        raise pickle.UnpicklingError(f"the pickle tries to change the class {cls.__name__}")


class Fields(metaclass=_Sealed):
    """An object whose class is known by name only: its attributes as they were pickled."""


def attributes(record):
    """The attributes of a pickled PyG `Data` by name; PyG 2.x has them in `_store._mapping`."""
    store = vars(record).get("_store")
    if isinstance(store, Fields):
        return dict(vars(store).get("_mapping", {}))
    return {name: value for name, value in vars(record).items() if not name.startswith("_")}


# PyG 1.x keeps its attributes in Data.__dict__, 2.x in a GlobalStorage; both lived under two module names.
_FIELDS = {
    ("torch_geometric.data.data", "Data"),
    ("torch_geometric.data.data", "DataEdgeAttr"),
    ("torch_geometric.data.data", "DataTensorAttr"),
    ("torch_geometric.data.storage", "GlobalStorage"),
    ("torch_geometric.data", "Data"),
    ("torch_geometric.data", "GlobalStorage"),
}
_PLAIN: dict[tuple[str, str], type] = {("collections", "OrderedDict"): collections.OrderedDict}
# Names of methods of RestrictedUnpickler: a bound method cannot be altered by the pickle that receives it.
_METHODS = {
    ("torch._utils", "_rebuild_tensor_v2"): "tensor",
    ("torch.storage", "_load_from_bytes"): "storage",
    ("torch", "Size"): "size",
    ("_codecs", "encode"): "latin1",
    ("numpy", "dtype"): "dtype",
}
for _builtins in ("builtins", "__builtin__"):  # protocol 2 writes Python 2's name
    _PLAIN.update({(_builtins, kind.__name__): kind for kind in (set, frozenset, complex)})
    _METHODS[_builtins, "bytes"] = "empty_bytes"
for _core in ("numpy.core", "numpy._core"):  # before and after numpy 2
    _METHODS[_core + ".multiarray", "_reconstruct"] = "array"
    _METHODS[_core + ".multiarray", "scalar"] = "scalar"
    _METHODS[_core + ".numeric", "_frombuffer"] = "frombuffer"


class RestrictedUnpickler(pickle.Unpickler):
    """The standard unpickler with a closed list of (module, name) pairs; `where` stands in its errors."""

    def __init__(self, raw, where):
        super().__init__(io.BytesIO(raw))
        self._where = where

    def find_class(self, module, name):
        key = (module, name)
        if key in _FIELDS:
            return Fields
        if key in _PLAIN:
            return _PLAIN[key]
        if key in _METHODS:
            return getattr(self, "_" + _METHODS[key])
        if key == ("numpy", "ndarray"):
            return None  # only ever an argument of _reconstruct, which knows what to build
        raise InputError(
            f"{self._where}: the pickle asks for {module}.{name}, which is not on the list of what may be "
            "read; nothing was run. If you trust the source of the file, export it to extxyz with the "
            "program that wrote it."
        )

    def _storage(self, raw):
        return storage_from_bytes(raw, self._where)

    def _tensor(self, storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None):
        return restore_strided(storage, offset, size, stride)

    def _size(self, sizes=()):
        return tuple(sizes)

    def _latin1(self, text, encoding):
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"bytes pickled in the encoding {encoding!r}")
        return text.encode("latin1")

    def _empty_bytes(self):
        return b""  # all that protocol 2 spells as a call of bytes()

    def _dtype(self, code, align=False, copy=False):
        return DtypeState(code)

    def _array(self, subtype, shape, code):
        return ArrayState.empty()

    def _scalar(self, dtype, raw):
        return dtype.array(raw)[0]

    def _frombuffer(self, raw, dtype, shape, order):
        return dtype.array(raw).reshape(shape, order=order)


def loads(raw, where):
    """The object pickled in `raw` (bytes), rebuilt from plain containers, numbers, numpy arrays and `Fields`.

    `where` ("data.0000.lmdb, key 17") stands in every error. Raises InputError for a (module, name) pair that
    is not on the list, inside tensors too, and for bytes that are no whole pickle.
    """
    try:
        return RestrictedUnpickler(raw, where).load()
    except InputError:
        raise
    except Exception as error:  # a broken pickle may raise anything; the record is bad input in each case
        raise InputError(
            f"{where}: not a readable pickle ({type(error).__name__}: {error}); is the file whole?"
        ) from error
