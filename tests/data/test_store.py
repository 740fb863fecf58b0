"""The store: what goes in comes out, and half a store never passes as a whole one."""

import os
import signal
import subprocess
import sys

import lmdb
import msgspec
import numpy as np
import pytest
from filelock import FileLock

from equitensor.data import Store, StoreWriter, convert, open_snapshots, store_writer
from equitensor.data.record import decode, encode
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph.labels import labels


def structure(i, n=4, **changes):
    rng = np.random.default_rng(i)
    fields = {
        "z": rng.integers(1, 9, n),
        "pos": rng.normal(size=(n, 3)) * 3,
        "cell": np.zeros((3, 3)),
        "pbc": np.zeros(3, bool),
        "energy": float(i),
        "forces": rng.normal(size=(n, 3)).astype(np.float32),
        "group": f"run {i // 10}",
    }
    return Structure(**{**fields, **changes})


def full_structure():
    return structure(
        7,
        cell=np.eye(3) * 9,
        pbc=np.array([True, True, False]),
        stress=np.arange(9.0).reshape(3, 3),
        fixed=np.array([True, False, False, True]),
        tags=np.array([0, 1, 2, 2]),
        weight=0.5,
        config_type="slab",
        source="a.xyz, frame 3",
    )


def write(path, structures, **options):
    with StoreWriter(path, **options) as writer:
        for each in structures:
            writer.add(each)
        writer.finish({"from": "a test"})
    return Store(path)


def assert_same(a, b):
    for name in ("z", "pos", "cell", "pbc", "forces", "stress", "fixed", "tags"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            assert x.dtype == y.dtype and x.shape == y.shape and np.array_equal(x, y), name
            assert y.flags.writeable
    for name in ("energy", "weight", "config_type", "group"):
        assert getattr(a, name) == getattr(b, name)


def test_a_record_keeps_every_field_and_dtype():
    assert_same(full_structure(), decode(encode(full_structure())))
    bare = structure(1, energy=None, forces=None, group=None)
    assert_same(bare, decode(encode(bare)))
    assert decode(encode(bare)).energy is None and decode(encode(bare)).forces is None


def test_a_store_returns_what_was_written_and_indexes_it(tmp_path):
    structures = [structure(i) for i in range(25)] + [full_structure()]
    store = write(tmp_path / "a.lmdb", structures)
    assert len(store) == 26
    for a, b in zip(structures, store, strict=True):
        assert_same(a, b)
    assert store[-1].source == f"{tmp_path / 'a.lmdb'}, record 25 (a.xyz, frame 3)"
    assert store.index.has(4).sum() == 1
    assert store.index.group_names == ["run 0", "run 1", "run 2"]
    assert store.units["stress"] == "eV/Angstrom^3" and store.provenance == {"from": "a test"}
    assert os.listdir(tmp_path) == ["a.lmdb"]
    with pytest.raises(IndexError):
        store[26]


def test_the_map_grows_with_the_data(tmp_path, monkeypatch):
    monkeypatch.setattr(store_writer, "_BATCH_BYTES", 20_000)
    store = write(tmp_path / "a.lmdb", (structure(i, n=200) for i in range(60)))
    assert len(store) == 60 and (tmp_path / "a.lmdb").stat().st_size > 4 * 20_000


def test_an_existing_store_is_replaced_only_on_request(tmp_path):
    old = write(tmp_path / "a.lmdb", [structure(0)])
    with pytest.raises(InputError, match="exists already"):
        StoreWriter(tmp_path / "a.lmdb")
    new = write(tmp_path / "a.lmdb", [structure(1), structure(2)], overwrite=True)
    assert len(new) == 2 and new[0].energy == 1.0
    assert old[0].energy == 0.0


def test_two_writers_do_not_share_a_file(tmp_path):
    with StoreWriter(tmp_path / "a.lmdb"), pytest.raises(InputError, match="another conversion"):
        StoreWriter(tmp_path / "a.lmdb")
    assert os.listdir(tmp_path) == []


def test_a_writer_that_waited_does_not_empty_what_the_other_finished(tmp_path, monkeypatch):
    first, acquire = StoreWriter(tmp_path / "a.lmdb"), FileLock.acquire

    def finish_then_acquire(lock, *options):
        if not (tmp_path / "a.lmdb").exists():
            first.finish()
        return acquire(lock, *options)

    monkeypatch.setattr(FileLock, "acquire", finish_then_acquire)
    with StoreWriter(tmp_path / "a.lmdb", overwrite=True):
        assert len(Store(tmp_path / "a.lmdb")) == 0
    with pytest.raises(InputError, match="exists already"):
        StoreWriter(tmp_path / "a.lmdb")
    assert os.listdir(tmp_path) == ["a.lmdb"]


@pytest.mark.parametrize("length", [0, 100, 4096, 5000, 9000, -1])
def test_a_truncated_store_is_refused_by_name(tmp_path, length):
    write(tmp_path / "whole.lmdb", (structure(i) for i in range(200)))
    data = (tmp_path / "whole.lmdb").read_bytes()
    (tmp_path / "cut.lmdb").write_bytes(data[:length])
    for opener in (Store, open_snapshots):
        with pytest.raises(InputError, match=r"cut\.lmdb"):
            opener(tmp_path / "cut.lmdb")


def test_other_files_are_refused_by_name(tmp_path):
    (tmp_path / "text.lmdb").write_text("not a database " * 2000)
    with pytest.raises(InputError, match=r"text\.lmdb: not a readable LMDB"):
        Store(tmp_path / "text.lmdb")
    with (
        lmdb.open(str(tmp_path / "other.lmdb"), subdir=False) as environment,
        environment.begin(write=True) as t,
    ):
        t.put(b"0", b"something")
    with pytest.raises(InputError, match=r"other\.lmdb: an LMDB file, but not a store"):
        Store(tmp_path / "other.lmdb")
    with pytest.raises(InputError, match=r"none\.lmdb"):
        Store(tmp_path / "none.lmdb")


def test_a_damaged_record_is_named(tmp_path):
    write(tmp_path / "a.lmdb", [structure(i) for i in range(3)])
    with lmdb.open(str(tmp_path / "a.lmdb"), subdir=False) as environment, environment.begin(write=True) as t:
        t.put((1).to_bytes(8, "big"), b"garbage")
    store = Store(tmp_path / "a.lmdb")
    assert store[0].energy == 0.0
    with pytest.raises(InputError, match=r"a\.lmdb, record 1: damaged"):
        store[1]


def run_convert(source, out, before):
    script = f"import os, resource, signal\nimport equitensor.data.store_writer as s\ns._BATCH_BYTES = 20000\n{before}"
    return subprocess.run([sys.executable, "-c", script, source, out], capture_output=True, text=True)


CONVERT = """
import sys
from equitensor.data import convert
from equitensor.errors import InputError
try:
    convert(sys.argv[1], sys.argv[2], progress=lambda n: KILL and n == 150 and os.kill(os.getpid(), 9))
except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


def test_a_killed_conversion_leaves_nothing_that_opens_and_can_be_repeated(tmp_path):
    write(tmp_path / "in.lmdb", (structure(i, n=20) for i in range(200)))
    out = tmp_path / "out.lmdb"
    done = run_convert(tmp_path / "in.lmdb", out, "KILL = True\n" + CONVERT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    partial = tmp_path / "out.lmdb.partial"
    assert partial.stat().st_size > 50_000
    for opener in (Store, open_snapshots):
        with pytest.raises(InputError, match=r"out\.lmdb\.partial: incomplete"):
            opener(partial)
    assert len(convert(tmp_path / "in.lmdb", out)) == 200
    assert sorted(os.listdir(tmp_path)) == ["in.lmdb", "out.lmdb"]


def test_a_full_disk_is_one_message_and_leaves_nothing(tmp_path):
    write(tmp_path / "in.lmdb", (structure(i, n=20) for i in range(200)))
    limit = "KILL = False\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    done = run_convert(tmp_path / "in.lmdb", tmp_path / "out.lmdb", limit + CONVERT)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "out.lmdb: could not be written" in done.stderr and "disk full" in done.stderr
    assert os.listdir(tmp_path) == ["in.lmdb"]


def test_an_error_during_writing_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), StoreWriter(tmp_path / "a.lmdb") as writer:
        writer.add(structure(0))
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_a_store_of_before_the_table_of_labels_is_read(tmp_path):
    """It does not say which bit is which label."""
    path = tmp_path / "a.lmdb"
    with StoreWriter(path) as writer:
        writer.add(structure(0))
        writer.finish()
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as transaction:
        metadata = msgspec.msgpack.decode(transaction.get(b"equitensor"))
        assert metadata.pop("bits") == {"energy": 1, "forces": 2, "stress": 4}
        transaction.put(b"equitensor", msgspec.msgpack.encode(metadata))
    store = Store(path)
    assert [bool(store.index.has(label)[0]) for label in labels()] == [
        label.is_here(structure(0)) for label in labels()
    ]
