"""Conversion by several processes: one store whatever their number, and nothing left out in silence."""

import csv
import logging
import os
import signal
from types import SimpleNamespace

import lmdb
import msgspec
import numpy as np
import pytest

from equitensor.cli.main import build_parser
from equitensor.data import Memory, Store, StoreWriter, convert, open_snapshots, store_writer, workers
from equitensor.data import pieces as pieces_module
from equitensor.data.convert import report_path
from equitensor.data.environment import open_lmdb
from equitensor.data.formats import FORMATS
from equitensor.data.index import Compositions, Index, Names
from equitensor.data.record import encode, pack_array
from equitensor.data.store_writer import ResumableError
from equitensor.errors import InputError
from equitensor.graph import Structure


def structure(i, n=3, **changes):
    rng = np.random.default_rng(i)
    values = {"z": rng.integers(1, 9, n), "pos": 3 * rng.normal(size=(n, 3)), "cell": np.zeros((3, 3))}
    values |= {"pbc": np.zeros(3, bool), "energy": float(i), "group": f"run {i // 7}", "source": f"frame {i}"}
    return Structure(**values | changes)


def store_of(path, structures):
    with StoreWriter(path) as writer:
        for each in structures:
            writer.add(each)
        writer.finish()
    return path


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(pieces_module, "_RECORDS", 10)
    monkeypatch.setattr(pieces_module, "_BATCH_RECORDS", 4)


@pytest.fixture
def sources(tmp_path, small_pieces):
    """A store in several pieces, and three files."""
    store_of(tmp_path / "in.lmdb", (structure(i) for i in range(64)))
    for k in range(3):
        frame = "2\nProperties=species:S:1:pos:R:3 energy={} other=1\nH 0 0 0\nO 0 0 {}\n"
        (tmp_path / f"{k}.xyz").write_text("".join(frame.format(i, 1 + i / 10 + k) for i in range(9)))
    return [tmp_path / "in.lmdb", *(tmp_path / f"{k}.xyz" for k in range(3))]


def content(path):
    """All records and arrays of a store, but for what says when it was written."""
    with open_lmdb(path).transaction() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor() if bytes(key) != b"equitensor"}


def test_any_number_of_processes_writes_the_same_store(sources, tmp_path):
    counts, shares = [], []
    one = convert(sources, tmp_path / "1.lmdb", progress=counts.append, share=shares.append)
    assert counts == list(range(1, 92)) and shares[0] == 0 and shares[-1] == pytest.approx(1)
    assert [s.energy for s in one] == [*range(64), *range(9), *range(9), *range(9)]
    for number in (2, 5):
        store = convert(sources, tmp_path / f"{number}.lmdb", workers=number)
        assert content(store.path) == content(one.path)
    assert sorted(os.listdir(tmp_path)) == ["0.xyz", "1.lmdb", "1.xyz", "2.lmdb", "2.xyz", "5.lmdb", "in.lmdb"]


@pytest.mark.parametrize("number", [1, 2])
def test_parts_of_a_file_that_is_no_lmdb(tmp_path, small_pieces, number):
    """A format of another package, with a structure in each line."""

    def read_part(file, start, stop, first=0):
        yield from (structure(first + int(line)) for line in file.read_text().split()[start:stop])

    def read(path, first: int = 0):
        yield from read_part(path, 0, None, first)

    (tmp_path / "a.lines").write_text("\n".join(map(str, range(25))))
    module = SimpleNamespace(recognises=lambda path: path.suffix == ".lines", read=read)
    module.parts, module.read_part = lambda path: [(path, 25)], read_part
    with FORMATS.registered("lines", module):
        store = convert(tmp_path / "a.lines", tmp_path / "a.lmdb", workers=number, first=3)
    assert [each.energy for each in store] == list(range(3, 28))
    del module.read_part
    with pytest.raises(InputError, match="no function read_part"), FORMATS.registered("lines", module):
        pass


def interrupted(sources, out, after, **options):
    def stop(count):
        if count == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(sources, out, progress=stop, **options)


def test_a_conversion_that_was_stopped_goes_on(sources, tmp_path, monkeypatch):
    """After a file that is read as a whole, inside one, and between pieces; by another number of processes."""
    whole = content(convert(sources, tmp_path / "whole.lmdb").path)
    monkeypatch.setattr(store_writer, "_BATCH_BYTES", 300)
    out, first = tmp_path / "a.lmdb", []
    for after, number in ((3, 1), (41, 2), (70, 3), (90, 1)):
        interrupted(sources, out, after, workers=number)
        with pytest.raises(InputError, match="incomplete: its conversion did not finish; repeat it, and it continues"):
            Store(tmp_path / "a.lmdb.partial")
    store = convert(sources, out, progress=first.append)
    assert first[0] > 80 and content(store.path) == whole
    assert not list(tmp_path.glob("*partial*"))


def test_other_sources_or_options_begin_anew(sources, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(store_writer, "_BATCH_BYTES", 300)
    for again in ({"sources": sources[:2]}, {"sources": sources[1:], "energy_key": "other"}):
        interrupted(sources[1:], tmp_path / "a.lmdb", 20, overwrite=True)
        caplog.clear()
        first = []
        options = {name: value for name, value in again.items() if name != "sources"}
        convert(again["sources"], tmp_path / "a.lmdb", overwrite=True, progress=first.append, **options)
        assert first[0] == 1 and "belongs to another task" in caplog.text
    interrupted(sources[1:], tmp_path / "b.lmdb", 20)
    (tmp_path / "2.xyz").write_text((tmp_path / "2.xyz").read_text() + "\n")
    first = []
    convert(sources[1:], tmp_path / "b.lmdb", progress=first.append)
    assert first[0] == 1


@pytest.mark.parametrize("number", [1, 2])
def test_errors_and_messages_of_readers_come_in_order(tmp_path, number, small_pieces, caplog):
    frame = "2\nProperties=species:S:1:pos:R:3 energy=1.0 REF_energy={}\nH 0 0 0\nO 0 0 {}\n"
    for k in range(4):
        (tmp_path / f"{k}.xyz").write_text("".join(frame.format(2 + k, k / 2) for _ in range(3)))
    caplog.set_level(logging.WARNING)
    with pytest.raises(InputError, match=r"0\.xyz, frame 0: atoms 0 and 1 are in the same place"):
        convert([tmp_path / f"{k}.xyz" for k in (1, 2, 0, 3)], tmp_path / "a.lmdb", workers=number)
    assert [f"{k}.xyz" in text for k, text in zip((1, 2), caplog.messages, strict=True)] == [True, True]
    assert not list(tmp_path.glob("*lmdb*"))


def test_a_worker_that_is_killed_is_no_end(sources, tmp_path, monkeypatch):
    batches = workers.batches

    def die(piece, *how):
        if piece.part is not None and piece.part[1] == 30:
            os.kill(os.getpid(), 9)
        return batches(piece, *how)

    monkeypatch.setattr(store_writer, "_BATCH_BYTES", 300)
    monkeypatch.setattr(workers, "batches", die)
    with pytest.raises(ResumableError, match="fewer --workers"):
        convert(sources, tmp_path / "a.lmdb", workers=2)
    monkeypatch.setattr(workers, "batches", batches)
    first = []
    assert len(convert(sources, tmp_path / "a.lmdb", progress=first.append)) == 91
    assert first[0] > 10


def bad_sources(tmp_path):
    """A store with two structures that cannot be used, a file with one, and a file that breaks off."""
    twice = structure(5).replace(pos=np.zeros((3, 3)))
    nan = structure(23).replace(energy=np.nan)
    good = [structure(i) for i in range(30)]
    store_of(tmp_path / "in.lmdb", [*good[:5], twice, *good[6:23], nan, *good[24:]])
    frame = "2\nProperties=species:S:1:pos:R:3 energy=-1.0\nH 0 0 0\nO 0 0 {}\n"
    (tmp_path / "a.xyz").write_text("".join(frame.format(z) for z in (1.0, 0.0, 1.5)))
    (tmp_path / "b.xyz").write_text(frame.format(1.0) + frame.format("nowhere") + frame.format(1.0))
    return [tmp_path / name for name in ("in.lmdb", "a.xyz", "b.xyz")]


@pytest.mark.parametrize("number", [1, 3])
def test_what_cannot_be_used_is_left_out_and_listed(tmp_path, number, small_pieces, capsys):
    sources, out = bad_sources(tmp_path), tmp_path / "out.lmdb"
    command = ["data", "convert", *map(str, sources), str(out), "--on-bad", "report", "--workers", str(number)]
    args = build_parser().parse_args(command)
    assert args.run(args) == 1
    assert "4 records were left out" in capsys.readouterr().out
    store = Store(out)
    assert len(store) == 28 + 2 + 1 and store.provenance["left_out"] == 4
    assert [s.energy for s in store[:28]] == [i for i in range(30) if i not in (5, 23)]
    with report_path(out).open() as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "record", "reason"]
    assert [row[0] for row in rows] == [str(sources[k]) for k in (0, 0, 1, 2)]
    assert [row[1].split(" (")[0] for row in rows] == ["record 5", "record 23", "frame 1", "frame 1"]
    assert "the same place" in rows[0][2] and "the energy is nan" in rows[1][2]
    assert rows[3][2].endswith("what follows in this file was not read")
    assert rows[0][2].endswith("remove or repair this record")


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_no_processes_are_refused_in_words(tmp_path, workers):
    command = ["data", "convert", "in.xyz", str(tmp_path / "out.lmdb"), f"--workers={workers}"]
    with pytest.raises(InputError, match=f"--workers: {workers} is no number of processes, which is 1 or more"):
        build_parser().parse_args(command)


def test_a_report_survives_a_stop_and_goes_with_its_store(tmp_path, small_pieces, monkeypatch):
    sources, out = bad_sources(tmp_path), tmp_path / "out.lmdb"
    convert(sources, tmp_path / "whole.lmdb", on_bad="report")
    monkeypatch.setattr(store_writer, "_BATCH_BYTES", 300)
    interrupted(sources, out, 22, on_bad="report")
    convert(sources, out, on_bad="report", workers=2)
    assert report_path(out).read_text() == report_path(tmp_path / "whole.lmdb").read_text()
    convert(sources[1].with_name("a.xyz"), out, overwrite=True, on_bad="report")
    (tmp_path / "a.xyz").write_text("2\nenergy=-1\nH 0 0 0\nO 0 0 1\n")
    convert(tmp_path / "a.xyz", out, overwrite=True, on_bad="report")
    assert not report_path(out).exists()


def test_a_store_of_the_first_schema_is_read(tmp_path):
    """Its index is in the metadata, without compositions and energies."""
    structures = [structure(i) for i in range(20)]
    flags, group = np.ones(20), np.arange(20) // 7
    metadata = {"schema": 1, "complete": True, "units": {}, "count": 20, "elements": list(range(1, 9))}
    metadata |= {"atoms": pack_array(np.full(20, 3), "<i4"), "flags": pack_array(flags, "|u1")}
    metadata |= {"group": pack_array(group, "<i4"), "group_names": ["run 0", "run 1", "run 2"]}
    with lmdb.open(str(tmp_path / "a.lmdb"), subdir=False) as env, env.begin(write=True) as transaction:
        for i, each in enumerate(structures):
            transaction.put(i.to_bytes(8, "big"), encode(each))
        transaction.put(b"equitensor", msgspec.msgpack.encode(metadata))
    store = open_snapshots(tmp_path / "a.lmdb")
    assert [s.energy for s in store] == list(range(20)) and store.index.composition is None
    assert store.index.group_names == ["run 0", "run 1", "run 2"] and store.index.elements == tuple(range(1, 9))
    new = convert(tmp_path / "a.lmdb", tmp_path / "b.lmdb")
    both = open_snapshots([tmp_path / "a.lmdb", tmp_path / "b.lmdb"])
    assert new.index.energy.tolist() == list(range(20))
    assert both.index.composition is None and both.index.group.tolist() == 2 * group.tolist()


def test_an_index_that_is_mapped_outlives_its_store(tmp_path):
    index = Store(store_of(tmp_path / "a.lmdb", (structure(i) for i in range(50)))).index
    assert not index.atoms.flags.writeable and not index.atoms.flags.owndata
    assert index.energy.tolist() == list(range(50)) and list(index.group_names) == [f"run {i}" for i in range(8)]


def test_joined_indices_are_those_of_the_structures_together():
    first, second = [structure(i) for i in range(20)], [structure(i, n=1 + i % 4) for i in range(10, 40)]
    second[3] = second[3].replace(group=None, energy=None)
    joined = Index.join([Memory(first).index, Memory(second).index])
    whole = Memory([*first, *second]).index
    for name in ("atoms", "flags", "group", "group_keys"):
        assert np.array_equal(getattr(joined, name), getattr(whole, name)), name
    assert np.array_equal(joined.energy, whole.energy, equal_nan=True)
    assert joined.group_names == whole.group_names and joined.elements == whole.elements
    tables = [index.compositions.table(index.composition, index.elements) for index in (joined, whole)]
    assert np.array_equal(*tables)


def test_compositions_count_elements():
    numbers = [bytes([1, 1, 8]), bytes([6]), b"", bytes([1, 6, 6, 6, 8])]
    compositions = Compositions.of(numbers)
    assert compositions.table(np.array([3, 0, 2]), (1, 6, 8)).tolist() == [[1, 3, 1], [2, 0, 1], [0, 0, 0]]
    assert compositions.table(np.array([3]), (6,)).tolist() == [[3]]
    assert (
        compositions.elements(0) == {1, 8}
        and compositions.elements(3) == {1, 6, 8}
        and compositions.elements(2) == set()
    )
    assert compositions.holding(8).tolist() == [True, False, False, True]
    assert compositions.beyond((1, 8)).tolist() == [False, True, False, True]
    assert list(Names.of(["", "Å", "b"])) == ["", "Å", "b"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_conversion_that_is_killed_twice_ends_the_same(sources, tmp_path, monkeypatch):
    """Before a commit whose journal is written, and after the index has begun to be; its workers end with it."""
    whole, out = content(convert(sources, tmp_path / "whole.lmdb").path), tmp_path / "a.lmdb"
    monkeypatch.setattr(store_writer, "_BATCH_BYTES", 300)
    for name, call in (("_put_pending", 9), ("_metadata", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(StoreWriter, name, _deadly(getattr(StoreWriter, name), call))
            pid = os.fork()
            if pid == 0:
                try:
                    convert(sources, out, workers=2)
                finally:
                    os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert not out.exists()
    first = []
    assert content(convert(sources, out, progress=first.append, workers=3).path) == whole
    assert not first and not list(tmp_path.glob("*partial*"))


def _deadly(method, call):
    calls = []

    def die(*arguments):
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*arguments)

    return die
