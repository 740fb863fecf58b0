"""Machine code on disk: damaged and stale entries, two processes, a folder that cannot be written; no CuPy."""

import errno
import logging
import multiprocessing
import sys
import tempfile

import pytest
import torch

from equitensor.ops.cuda import cache as cache_module
from equitensor.ops.cuda import compiler, dispatch, module
from equitensor.ops.cuda.cache import Cache
from equitensor.ops.cuda.source import Source
from equitensor.ops.cuda.verdict import Verdict

ON = {"device": "a GPU", "driver": "580.1"}
SOURCE = Source("kernel.cu", "some text", (("problem.h", "constants"),))


@pytest.fixture
def compiled(monkeypatch):
    """The sources that were compiled, by a compiler that needs no library."""
    done = []

    def compile_source(given, arch):
        done.append((given, arch))
        return b"code of " + given.text.encode(), ""

    monkeypatch.setattr(compiler, "version", lambda: "13.0")
    monkeypatch.setattr(module, "compile_source", compile_source)
    return done


def test_an_entry_is_used_again(tmp_path, compiled):
    for _ in range(2):
        assert module.machine_code(SOURCE, "sm_90", Cache(tmp_path)) == b"code of some text"
    assert len(compiled) == 1


@pytest.mark.parametrize("damage", [lambda entry: entry[:-1], lambda entry: entry[:-1] + b"?", lambda entry: b""])
def test_a_damaged_entry_is_compiled_again(damage, tmp_path, compiled, caplog):
    cache = Cache(tmp_path)
    module.machine_code(SOURCE, "sm_90", cache)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    assert module.machine_code(SOURCE, "sm_90", cache) == b"code of some text"
    assert len(compiled) == 2 and "damaged or stale" in caplog.text
    module.machine_code(SOURCE, "sm_90", cache)
    assert len(compiled) == 2


def test_a_stale_entry_is_compiled_again(tmp_path, compiled, monkeypatch):
    """Another compiler, source, header or architecture is another key; an entry under another's name is not taken."""
    cache = Cache(tmp_path)
    module.machine_code(SOURCE, "sm_90", cache)
    (entry,) = tmp_path.iterdir()
    others = (
        (SOURCE._replace(text="another"), "sm_90"),
        (SOURCE._replace(headers=(("problem.h", "others"),)), "sm_90"),
        (SOURCE, "sm_100"),
    )
    for other, arch in others:
        cache.path(other.name, compiler.key(other, arch)).write_bytes(entry.read_bytes())
        assert module.machine_code(other, arch, cache) == b"code of " + other.text.encode()
    monkeypatch.setattr(compiler, "version", lambda: "13.1")
    module.machine_code(SOURCE, "sm_90", cache)
    assert len(compiled) == 5


def _compile_with_another(folder, barrier, results):
    def compile_source(given, arch):
        barrier.wait()  # both have found nothing
        return b"code" * 100000, ""

    compiler.version = lambda: "13.0"
    module.compile_source = compile_source
    results.put(module.machine_code(SOURCE, "sm_90", Cache(folder)) == b"code" * 100000)


def test_two_processes_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2, timeout=60), context.Queue()
    both = [context.Process(target=_compile_with_another, args=(tmp_path, barrier, results)) for _ in range(2)]
    for process in both:
        process.start()
    assert [results.get(timeout=60) for _ in both] == [True, True]
    for process in both:
        process.join()
    (entry,) = tmp_path.iterdir()
    assert entry.suffix == ".cubin"


def _judge_with_another(folder, barrier, results):
    stored = Verdict("kernel.cu", "key", "code", ON, 1e-14, "result 1 " * 100000, None, None)
    cache = Cache(folder)
    for _ in range(20):
        barrier.wait()
        cache.write_verdict(stored)
        results.put(cache.read_verdict("kernel.cu", "key", "code", ON) == stored)


def test_two_processes_write_the_same_verdict_at_once(tmp_path):
    """Whatever is read is whole."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2, timeout=60), context.Queue()
    both = [context.Process(target=_judge_with_another, args=(tmp_path, barrier, results)) for _ in range(2)]
    for process in both:
        process.start()
    assert all(results.get(timeout=60) for _ in range(40))
    for process in both:
        process.join()
    (entry,) = tmp_path.iterdir()
    assert entry.suffix == ".json"


def test_a_folder_that_cannot_be_written(tmp_path, compiled, monkeypatch, caplog):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    cache_module._warn_once.cache_clear()
    for _ in range(2):
        assert module.machine_code(SOURCE, "sm_90", Cache(tmp_path)) == b"code of some text"
    (record,) = caplog.records
    assert "Read-only file system" in record.message and "XDG_CACHE_HOME" in record.message


@pytest.fixture
def gpu(monkeypatch):
    """A torch that sees one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    for known in (dispatch.why_not, dispatch._warn_once, compiler._nvrtc):
        known.cache_clear()
    yield
    dispatch.why_not.cache_clear()
    compiler._nvrtc.cache_clear()


def test_without_cupy_the_reference_runs_and_one_line_says_so(gpu, monkeypatch, caplog):
    for name in ("cupy", "cupy.cuda"):
        monkeypatch.setitem(sys.modules, name, None)
    caplog.set_level(logging.WARNING)
    for operator in ("uvu_convolution", "uvu_convolution_gradients"):
        assert dispatch.first_that_can(operator, 1, None, lambda x: x + 1, (torch.ones(1),)) == 2
    (record,) = caplog.records
    assert "uvu_convolution runs in plain torch" in record.message
    assert "CuPy is not installed" in record.message and "pip install equitensor[cuda13]" in record.message


def test_what_kernels_do_not_take_goes_to_the_reference(gpu, monkeypatch, caplog):
    monkeypatch.setattr(dispatch, "knows", lambda arch: True)

    def refuse(x):
        raise compiler.CompilationError("NVRTC 13.0 does not know sm_999")

    assert dispatch.first_that_can("one", 1, refuse, lambda x: x + 1, (torch.ones(1),)) == 2
    assert dispatch.first_that_can("other", 1, None, lambda x: x + 1, (torch.ones(1, dtype=torch.float16),)) == 2
    with pytest.raises(RuntimeError, match=r"edge_read has no kernel for this on a GPU: operands are torch.int8"):
        dispatch.first_that_can("edge_read", 1, None, None, (torch.ones(1, dtype=torch.int8),))
    assert [record.message.partition(": ")[2][:32] for record in caplog.records] == [
        "NVRTC 13.0 does not know sm_999",
        "operands are torch.float16: kern",
    ]
