"""Pickles are rebuilt from a closed list; nothing in them runs, at the surface or inside a tensor."""

import collections
import contextlib
import os
import pickle
import sys
import types

import numpy as np
import pytest
import torch

from equitensor.data.formats.unpickle import Fields, attributes, loads
from equitensor.errors import InputError


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_arrays_and_scalars(protocol):
    record = {
        "matrix": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big-endian": np.arange(3, dtype=">f4"),
        "text": np.array(["H", "He"]),
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 3)),
    }
    rebuilt = loads(pickle.dumps(record, protocol), "x")
    for name, value in record.items():
        np.testing.assert_array_equal(rebuilt[name], value)
        assert rebuilt[name].dtype.newbyteorder("=") == value.dtype.newbyteorder("=")


@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
def test_both_names_of_numpy(module):
    old = b"cnumpy._core.multiarray\n_reconstruct\n"
    raw = pickle.dumps(np.arange(4.0), 2)
    assert old in raw
    renamed = raw.replace(old, f"c{module}.multiarray\n_reconstruct\n".encode())
    np.testing.assert_array_equal(loads(renamed, "x"), np.arange(4.0))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12.0).reshape(3, 4).T,
        torch.arange(10)[3:7:2],
        torch.zeros(0, 3),
        torch.tensor(3.5, dtype=torch.float64),
        torch.tensor([True, False]),
        torch.arange(3, dtype=torch.float16),
        torch.ones(2, 1).expand(2, 3),
    ],
)
def test_tensors_become_arrays(tensor):
    rebuilt = loads(pickle.dumps(tensor), "x")
    np.testing.assert_array_equal(rebuilt, tensor.numpy())
    assert rebuilt.dtype == tensor.numpy().dtype


@pytest.fixture
def pyg(monkeypatch):
    """Stand-ins for PyTorch-Geometric's classes, so that pickles name them."""
    for module, names in {
        "torch_geometric": [],
        "torch_geometric.data.data": ["Data", "DataEdgeAttr", "DataTensorAttr"],
        "torch_geometric.data.storage": ["GlobalStorage"],
        "torch_geometric.data": ["Data"],
    }.items():
        classes = {name: type(name, (), {"__module__": module, "__qualname__": name}) for name in names}
        fake = types.ModuleType(module)
        vars(fake).update(classes)
        monkeypatch.setitem(sys.modules, module, fake)
    return sys.modules


@pytest.mark.parametrize("module", ["torch_geometric.data.data", "torch_geometric.data"])
def test_pyg_1_keeps_its_attributes_in_the_object(pyg, module):
    data = pyg[module].Data()
    data.pos, data.y, data.x = torch.ones(2, 3), 1.5, None
    rebuilt = loads(pickle.dumps(data), "x")
    assert type(rebuilt) is Fields
    assert attributes(rebuilt).keys() == {"pos", "y", "x"}
    assert attributes(rebuilt)["y"] == 1.5


def test_pyg_2_keeps_its_attributes_in_a_storage(pyg):
    data_module = pyg["torch_geometric.data.data"]
    data, store = data_module.Data(), pyg["torch_geometric.data.storage"].GlobalStorage()
    store._mapping, store._parent = {"pos": torch.ones(2, 3), "y": 1.5}, data
    data._store, data._edge_attr_cls = store, data_module.DataEdgeAttr
    assert attributes(loads(pickle.dumps(data), "x"))["pos"].shape == (2, 3)


def hostile(marker):
    return pickle.dumps({"y": 1.0, "pos": Call(os.system, f"touch {marker}")})


def hostile_inside_a_tensor(marker):
    return pickle.dumps({"y": 1.0, "pos": Call(torch.storage._load_from_bytes, hostile(marker))})


@pytest.mark.parametrize("payload", [hostile, hostile_inside_a_tensor])
def test_hostile_pickles_are_refused_and_not_run(tmp_path, payload):
    marker = tmp_path / "marker"
    raw = payload(marker)
    with contextlib.suppress(Exception):
        pickle.loads(raw)
    assert marker.exists(), "the payload is meant to work where nothing stops it"
    marker.unlink()
    with pytest.raises(InputError, match=r"data\.lmdb, key 7.*(posix|nt)\.system"):
        loads(raw, "data.lmdb, key 7")
    assert not marker.exists()


@pytest.mark.parametrize("function", [eval, getattr, print, np.load, torch.load, pickle.loads, os.remove])
def test_what_is_not_on_the_list_is_named(function):
    with pytest.raises(InputError, match=rf"key 7: .*{function.__name__}"):
        loads(pickle.dumps(Call(function, "x")), "data.lmdb, key 7")


def test_a_pickle_cannot_change_our_classes():
    raw = b"\x80\x02ctorch_geometric.data.data\nData\nN}X\x06\x00\x00\x00poisonK\x01s\x86b."
    with pytest.raises(InputError, match="tries to change"):
        loads(raw, "x")
    assert not hasattr(Fields, "poison")


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (1000,), (1,)), (3, (1,), (1,)), (-1, (1,), (1,)), (2, (2,), (-1,)), (0, (2, 2), (1,))],
)
def test_a_tensor_cannot_reach_beyond_its_storage(offset, size, stride):
    storage = torch.zeros(3)._typed_storage()
    view = Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, collections.OrderedDict())
    with pytest.raises(InputError, match=r"storage|impossible"):
        loads(pickle.dumps(view), "x")


def test_a_tensor_cannot_stretch_its_storage_by_another_tensor():
    rebuild, hooks = torch._utils._rebuild_tensor_v2, collections.OrderedDict()
    stretched = Call(rebuild, torch.zeros(3)._typed_storage(), 0, (10**9,), (0,), False, hooks)
    with pytest.raises(InputError, match="not a flat array"):
        loads(pickle.dumps(Call(rebuild, stretched, 0, (10**9,), (1,), False, hooks)), "x")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not a pickle",
        pickle.dumps(torch.ones(9))[:-40],
        pickle.dumps(np.array([1, "a"], dtype=object)),
        pickle.dumps(np.zeros(2, dtype=[("a", "f4")])),
        pickle.dumps(torch.zeros(2, dtype=torch.bfloat16)),
    ],
)
def test_broken_or_foreign_bytes_name_the_record(raw):
    with pytest.raises(InputError, match="a file, key 0"):
        loads(raw, "a file, key 0")
