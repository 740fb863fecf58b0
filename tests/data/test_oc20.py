"""OC20 as LMDB, as raw download and as ASE database: every published layout gives the same structures."""

import pickle
import sys
import types

import lmdb
import numpy as np
import pytest
import torch

from equitensor.data import open_snapshots
from equitensor.data.formats import aselmdb, oc20, oc20_raw
from equitensor.data.formats.unpickle import loads
from equitensor.data.single_frame import read_single
from equitensor.errors import InputError


@pytest.fixture(params=["PyG 1", "PyG 2"])
def make_data(request, monkeypatch):
    """make_data(attributes): a stand-in for PyG's Data; 1.x keeps them in the object, 2.x in a storage."""
    for name in ("torch_geometric", "torch_geometric.data"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name, kind in (("data", "Data"), ("storage", "GlobalStorage")):
        module = types.ModuleType(f"torch_geometric.data.{name}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        setattr(module, kind, type(kind, (), {"__module__": module.__name__}))

    def make(attributes):
        data = sys.modules["torch_geometric.data.data"].Data()
        if request.param == "PyG 1":
            vars(data).update(attributes)
        else:
            data._store = sys.modules["torch_geometric.data.storage"].GlobalStorage()
            data._store._mapping, data._edge_attr_cls = attributes, None
        return data

    return make


@pytest.fixture
def write(make_data):
    """write(path, records, **other_keys): an LMDB file of Data objects under the keys 0, 1, 2 ..."""

    def write(path, records, **other_keys):
        environment = lmdb.open(str(path), subdir=False, map_size=1 << 22, lock=False)
        with environment, environment.begin(write=True) as txn:
            for number, attributes in enumerate(records):
                txn.put(str(number).encode(), pickle.dumps(make_data(attributes)))
            for name, value in other_keys.items():
                txn.put(name.encode(), pickle.dumps(value))
        return path

    return write


def frame(energy, sid=7, **more):
    return {
        "atomic_numbers": torch.tensor([29.0, 29.0, 1.0]),
        "pos": torch.arange(9.0).reshape(3, 3),
        "cell": 9 * torch.eye(3)[None],
        "fixed": torch.tensor([1.0, 0.0, 0.0]),
        "tags": torch.tensor([0, 1, 2]),
        "natoms": 3,
        "y": energy,
        "force": torch.ones(3, 3),
        "sid": sid,
        "fid": 0,
        **more,
    }


def test_records_come_in_numeric_order_with_their_labels(tmp_path, write):
    path = write(tmp_path / "data.lmdb", [frame(float(i)) for i in range(12)], length=12)
    assert oc20.recognises(path) and oc20.recognises(tmp_path)
    structures = list(oc20.read(path))
    assert [s.energy for s in structures] == list(range(12))
    first = structures[0]
    assert first.z.tolist() == [29, 29, 1] and first.z.dtype == np.int64
    assert first.fixed.tolist() == [True, False, False] and first.tags.tolist() == [0, 1, 2]
    assert first.pbc.all() and first.cell[0, 0] == 9
    assert first.forces.dtype == np.float32 and (first.forces == 1).all()
    assert first.group == "sid 7" and first.source == f"{path}, key 0"


def test_shards_follow_in_numeric_order_and_log_files_are_no_shards(tmp_path, write):
    for shard in (10, 2, 1):
        write(tmp_path / f"data.{shard}.lmdb", [frame(float(shard), sid=torch.tensor([shard]))])
        (tmp_path / f"data_log.{shard}.txt").write_text("random7,frame0\n")
    assert [(s.energy, s.group) for s in oc20.read(tmp_path)] == [(1, "sid 1"), (2, "sid 2"), (10, "sid 10")]


def test_one_structure_of_shards_is_read_alone(tmp_path, write, monkeypatch):
    for shard in (10, 2):
        write(tmp_path / f"data.{shard}.lmdb", [frame(float(shard + k)) for k in range(3)])
    read = []
    monkeypatch.setattr(oc20, "loads", lambda raw, where: read.append(where) or loads(raw, where))
    for index, energy, records in ((None, 12, 1), (4, 11, 5), (-6, 2, 6)):
        read.clear()
        atoms = read_single(tmp_path, index)
        assert atoms.get_potential_energy() == energy and len(read) == records
        assert atoms.pbc.all() and atoms.constraints[0].index.tolist() == [0]
    with pytest.raises(InputError, match=r"no structure number 6 \(they count from 0\)"):
        read_single(tmp_path, 6)


def test_read_only_media_are_left_as_they_are(tmp_path, write):
    folder = tmp_path / "published"
    folder.mkdir()
    for shard in range(2):
        write(folder / f"data.{shard:04d}.lmdb", [frame(1.0)]).chmod(0o444)
    folder.chmod(0o555)
    assert len(open_snapshots(folder)) == 2
    assert sorted(file.name for file in folder.iterdir()) == ["data.0000.lmdb", "data.0001.lmdb"]  # no locks
    folder.chmod(0o755)


def test_initial_and_relaxed_structures_keep_their_own_labels(tmp_path, write):
    record = frame(None, y_init=3.0, y_relaxed=torch.tensor([-1.0]), pos_relaxed=torch.zeros(3, 3))
    path = write(tmp_path / "data.lmdb", [record])
    (initial,), (relaxed,) = oc20.read(path), oc20.read(path, relaxed=True)
    assert initial.energy == 3 and initial.pos[2, 2] == 8 and initial.forces is not None
    assert relaxed.energy == -1 and not relaxed.pos.any() and relaxed.forces is None


def test_missing_labels_are_none(tmp_path, write):
    (structure,) = oc20.read(write(tmp_path / "data.lmdb", [frame(None, force=None)]))
    assert structure.energy is None and structure.forces is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"atomic_numbers": torch.tensor([0.5, 1.0, 1.0])}, "no elements"),
        ({"force": torch.ones(2, 3)}, "`force` is not an array of shape"),
        ({"pos": None}, "has no `pos`"),
    ],
)
def test_a_bad_record_is_named(tmp_path, write, change, complaint):
    path = write(tmp_path / "data.lmdb", [frame(0.0), frame(0.0, **change)])
    with pytest.raises(InputError, match=rf"data\.lmdb, key 1.* {complaint}"):
        list(oc20.read(path))


def test_bad_files_are_named(tmp_path, write):
    path = write(tmp_path / "data.lmdb", [frame(float(i)) for i in range(20)], length=21)
    with pytest.raises(InputError, match="length"):
        list(oc20.read(path))
    with pytest.raises(InputError, match="only IS2RE"):
        list(oc20.read(write(tmp_path / "s2ef.lmdb", [frame(0.0)]), relaxed=True))
    cut = tmp_path / "cut.lmdb"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="truncated"):
        list(oc20.read(cut))


def summary(structures):
    structures = list(structures)
    elements = {z for s in structures for z in s.z.tolist()}
    return len(structures), len({s.group for s in structures}), len(elements)


def test_real_files(shared_data):
    folder = shared_data / "oc20" / "original"
    assert summary(oc20.read(folder / "s2ef_val_20" / "data.lmdb")) == (20, 1, 3)
    initial = list(oc20.read(folder / "is2re_val_20"))
    relaxed = list(oc20.read(folder / "is2re_val_20", relaxed=True))
    assert summary(initial) == summary(relaxed) == (20, 20, 31)
    assert initial[0].energy == pytest.approx(8.06770585) and relaxed[0].energy == pytest.approx(-0.40190949)
    assert all(s.energy < t.energy and s.group == t.group for s, t in zip(relaxed, initial, strict=True))
    val = list(oc20.read(shared_data / "oc20" / "s2ef_lmdb" / "val"))
    assert summary(val) == (471, 5, 11)
    assert any(np.abs(s.forces[s.fixed]).max() > 0.1 for s in val)


def test_the_three_layouts_agree(shared_data):
    folder = shared_data / "oc20"
    frames = list(oc20_raw.read(folder / "raw", total=True))
    rows = list(aselmdb.read(folder / "aselmdb"))
    assert summary(frames) == (600, 24, 36) and summary(rows) == (300, 24, 36)
    for row, raw in zip(rows, frames, strict=False):
        assert row.group == raw.group and row.energy == raw.energy
        for name in ("z", "pos", "cell", "pbc", "forces", "fixed", "tags"):
            np.testing.assert_allclose(getattr(row, name), getattr(raw, name), atol=1e-8, err_msg=name)
    legacy = {(s.group, s.energy): s for s in oc20.read(folder / "s2ef_lmdb" / "val")}
    shared = [s for s in frames if (s.group, s.energy) in legacy]
    assert len(shared) > 40
    for raw in shared:
        other = legacy[raw.group, raw.energy]
        np.testing.assert_allclose(other.forces, raw.forces, atol=1e-5)
        np.testing.assert_array_equal(other.fixed, raw.fixed)


def test_raw_energies_are_referenced(shared_data):
    (file,) = (shared_data / "oc20" / "raw").glob("*.extxyz.xz")
    assert oc20_raw.recognises(file) and oc20_raw.recognises(file.parent)
    referenced, total = next(oc20_raw.read(file)), next(oc20_raw.read(file, total=True))
    assert total.energy == pytest.approx(-220.25907019)
    assert referenced.energy == pytest.approx(-220.25907019 + 240.4476975806)
